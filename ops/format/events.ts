/**
 * Log records (pino's JSON lines) for people: time, component, message, and the fields that say more.
 * Anything that is no such record (etcd's own log, a stack trace) stays as it is.
 */
export interface LogEvent {
  readonly timeMs: number;
  readonly level: number;
  readonly component: string;
  readonly event: string | null;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export const LEVEL_INFO = 30;
export const LEVEL_WARN = 40;
export const LEVEL_ERROR = 50;

const OWN_FIELDS = new Set(['time', 'level', 'component', 'pid', 'hostname', 'event', 'msg', 'v', 'node', 'cluster']);
const MAX_FIELD = 200;

/** Null where the line is not a record. */
export function parseEvent(line: string): LogEvent | null {
  if (!line.startsWith('{')) return null;
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { time, level, component, event, msg } = record;
  if (typeof level !== 'number') return null;
  const timeMs = typeof time === 'string' ? Date.parse(time) : Number(time);
  return {
    timeMs: Number.isFinite(timeMs) ? timeMs : Date.now(),
    level,
    component: typeof component === 'string' ? component : '-',
    event: typeof event === 'string' ? event : null,
    message: typeof msg === 'string' ? msg : typeof event === 'string' ? event : '',
    fields: Object.fromEntries(Object.entries(record).filter(([name]) => !OWN_FIELDS.has(name))),
  };
}

export interface FormatOptions {
  readonly color: boolean;
  /** Minutes east of UTC; by default the machine's own time zone. */
  readonly zoneMinutes?: number;
}

export function formatEvent(event: LogEvent, options: FormatOptions): string {
  const paint = painter(options.color);
  const shade = event.level >= LEVEL_ERROR ? 'red' : event.level >= LEVEL_WARN ? 'yellow' : 'plain';
  const details = Object.entries(event.fields)
    // Said already, in words.
    .filter(([, value]) => !(typeof value === 'string' && value.length > 3 && event.message.includes(value)))
    .map(([name, value]) => formatField(name, value))
    .filter((text) => text !== '')
    .join(' ');
  const time = paint('dim', clockTime(event.timeMs, options.zoneMinutes));
  const component = paint(componentColor(event.component), event.component.padEnd(8));
  return `${time} ${component} ${paint(shade, event.message)}${details === '' ? '' : `  ${paint('dim', details)}`}`;
}

/** `HH:MM:SS.mmm` */
export function clockTime(timeMs: number, zoneMinutes = -new Date(timeMs).getTimezoneOffset()): string {
  return new Date(timeMs + zoneMinutes * 60_000).toISOString().slice(11, 23);
}

type Paint = (style: Style, text: string) => string;
type Style = 'plain' | 'dim' | 'bold' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan';

const CODES: Readonly<Record<Style, string>> = {
  plain: '',
  dim: '2',
  bold: '1',
  red: '31',
  green: '32',
  yellow: '33',
  blue: '34',
  magenta: '35',
  cyan: '36',
};

export function painter(color: boolean): Paint {
  return (style, text) => (!color || style === 'plain' ? text : `\x1b[${CODES[style]}m${text}\x1b[0m`);
}

/** Colours where a terminal reads and nobody said otherwise (https://no-color.org). */
export function wantsColor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

/**
 * Keeps a live log calm: after `burst` records of one kind within `windowMs`, the rest of the window is counted
 * instead of shown. The number of kinds it remembers is bounded.
 */
export class Repeats {
  readonly #burst: number;
  readonly #windowMs: number;
  readonly #kinds = new Map<string, { startMs: number; seen: number }>();

  constructor(burst = 5, windowMs = 10_000) {
    this.#burst = burst;
    this.#windowMs = windowMs;
  }

  /** `show`: whether to show this one; `hidden`: how many of its kind were not shown in the window that just ended. */
  admit(kind: string, nowMs: number): { readonly show: boolean; readonly hidden: number } {
    const known = this.#kinds.get(kind);
    if (known !== undefined && nowMs - known.startMs < this.#windowMs) {
      known.seen++;
      return { show: known.seen <= this.#burst, hidden: 0 };
    }
    this.#kinds.delete(kind);
    const oldest = this.#kinds.size >= 500 ? this.#kinds.keys().next().value : undefined;
    if (oldest !== undefined) this.#kinds.delete(oldest);
    this.#kinds.set(kind, { startMs: nowMs, seen: 1 });
    return { show: true, hidden: Math.max(0, (known?.seen ?? 0) - this.#burst) };
  }
}

function formatField(name: string, value: unknown): string {
  if (value === null || value === undefined) return '';
  if (name === 'err' && typeof value === 'object') {
    const { message, code } = value as { message?: string; code?: string };
    return `(${[message, code].filter(Boolean).join(', ')})`.slice(0, MAX_FIELD);
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `${name}=${/^[^\s"]*$/.test(text) || typeof value !== 'string' ? text : JSON.stringify(text)}`.slice(
    0,
    MAX_FIELD,
  );
}

const COMPONENT_COLORS: readonly Style[] = ['cyan', 'green', 'magenta', 'blue', 'yellow'];

function componentColor(component: string): Style {
  const digit = Number(/(\d+)$/.exec(component)?.[1] ?? 0);
  const offset = component.startsWith('proxy') ? 3 : 0;
  return COMPONENT_COLORS[(digit + offset) % COMPONENT_COLORS.length] ?? 'plain';
}
