import { quoteLiteral, type Setting } from './settings-image.ts';

/**
 * DateStyle is one setting of two parts, and SET may name one of them: `SET datestyle TO ymd` keeps the style. As in
 * check_datestyle (src/backend/commands/variable.c).
 */
interface DateStyle {
  readonly style: string | null;
  readonly order: string | null;
}

/** What SET of `value` leaves while `before` holds. Undefined before: the server's default, which nobody knows here. */
export function dateStyleSetting(before: string | undefined, given: string): Setting {
  const value = mergeDateStyle(before, given);
  return {
    value,
    sql: /^default$/i.test(value) ? 'SET datestyle TO DEFAULT' : `SET datestyle TO ${quoteLiteral(value)}`,
  };
}

/** What holds after SET gave `value` while `before` held. Undefined before: the server's default, which nobody knows here. */
export function mergeDateStyle(before: string | undefined, value: string): string {
  const next = parse(value);
  const last = before === undefined ? null : parse(before);
  if (next === null || last === null) return value;
  const parts = [next.style ?? last.style, next.order ?? last.order];
  return parts.filter((part) => part !== null).join(', ');
}

/** Null for what is not just names of the two parts (DEFAULT). */
function parse(value: string): DateStyle | null {
  let style: string | null = null;
  let order: string | null = null;
  for (const word of value.split(',').map((part) => part.trim().toLowerCase())) {
    const named = STYLES.find(([pattern]) => pattern.test(word))?.[1];
    const ordered = ORDERS.find(([pattern]) => pattern.test(word))?.[1];
    if (named !== undefined) style = named;
    else if (ordered !== undefined) order = ordered;
    else return null;
  }
  // German dates have the day first, unless something else is said.
  if (style === 'German') order ??= 'DMY';
  return { style, order };
}

const STYLES: readonly (readonly [RegExp, string])[] = [
  [/^iso$/, 'ISO'],
  [/^sql$/, 'SQL'],
  [/^postgres/, 'Postgres'],
  [/^german$/, 'German'],
];
const ORDERS: readonly (readonly [RegExp, string])[] = [
  [/^ymd$/, 'YMD'],
  [/^(?:dmy|euro.*)$/, 'DMY'],
  [/^(?:mdy|us|noneuro.*)$/, 'MDY'],
];
