/** A column of a console table. Numbers are sent as `int8`, as PgBouncer does; all else as text. */
export interface Column {
  readonly name: string;
  readonly kind: 'int' | 'text';
}

export const INT8_OID = 20;

export function ints(...names: readonly string[]): Column[] {
  return names.map((name) => ({ name, kind: 'int' }));
}

export function texts(...names: readonly string[]): Column[] {
  return names.map((name) => ({ name, kind: 'text' }));
}

/** As PostgreSQL prints it: booleans `t` and `f`; whole numbers where the column has such. */
export function textOf(value: unknown, kind: Column['kind']): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'boolean') return kind === 'int' ? String(Number(value)) : value ? 't' : 'f';
  if (typeof value === 'number') {
    if (kind === 'text') return String(Math.round(value * 10) / 10);
    return Number.isFinite(value) ? BigInt(Math.round(value)).toString() : null;
  }
  if (value instanceof Date) return timestamp(value);
  return String(value as string | bigint);
}

/** `2026-01-01 00:00:00 UTC`, as in PgBouncer's tables. */
function timestamp(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
