import { ClientError } from '../../common/errors.ts';
import type { ConsistencyLevel } from './choose-node.ts';

/** What a session has set of the proxy's own settings; null: the configuration's holds. Never mutated. */
export interface OwnValues {
  readonly consistency: ConsistencyLevel | null;
  readonly maxStalenessMs: number | null;
  readonly causalWaitMs: number | null;
}

export const NO_OWN: OwnValues = { consistency: null, maxStalenessMs: null, causalWaitMs: null };

export const OWN_PREFIX = 'leasehold.';

/** From the weakest to the strongest. */
export const LEVELS: readonly ConsistencyLevel[] = ['eventual', 'session', 'database', 'strong'];

/** An hour: a read that waits longer for a follower is one that hangs. */
const MAX_WAIT_MS = 3_600_000;
const MAX_INT = 2_147_483_647;

export function isOwnSetting(name: string): boolean {
  return name.startsWith(OWN_PREFIX);
}

/** `values` with one more set; `text` null: as in `defaults`. Throws ClientError 22023, 42704, 55P02. */
export function withOwn(values: OwnValues, name: string, text: string | null, defaults: OwnValues = NO_OWN): OwnValues {
  switch (name) {
    case 'leasehold.consistency':
      return { ...values, consistency: text === null ? defaults.consistency : parseLevel(text) };
    case 'leasehold.max_staleness':
      return {
        ...values,
        maxStalenessMs: text === null ? defaults.maxStalenessMs : parseDuration(name, text, 1, MAX_INT),
      };
    case 'leasehold.causal_wait':
      return {
        ...values,
        causalWaitMs: text === null ? defaults.causalWaitMs : parseDuration(name, text, 0, MAX_WAIT_MS),
      };
    case 'leasehold.node':
    case 'leasehold.version':
      throw new ClientError({ sqlState: '55P02', message: `parameter "${name}" cannot be changed` });
    default:
      throw unknownSetting(name);
  }
}

/** As PostgreSQL words it, with the names that there are. */
export function unknownSetting(name: string): ClientError {
  return new ClientError({
    sqlState: '42704',
    message: `unrecognized configuration parameter "${name}"`,
    hint:
      'The proxy knows leasehold.consistency, leasehold.max_staleness, leasehold.causal_wait, leasehold.token, ' +
      'and to SHOW only leasehold.node and leasehold.version.',
  });
}

export function parseLevel(text: string): ConsistencyLevel {
  const level = LEVELS.find((each) => each === text.toLowerCase());
  if (level !== undefined) return level;
  throw new ClientError({
    sqlState: '22023',
    message: `invalid value for parameter "leasehold.consistency": "${text}"`,
    hint: `Available values: ${LEVELS.join(', ')}.`,
  });
}

export function strongerLevel(a: ConsistencyLevel, b: ConsistencyLevel): ConsistencyLevel {
  return LEVELS.indexOf(a) >= LEVELS.indexOf(b) ? a : b;
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
  ['ms', 1],
  ['us', 0.001],
];

/** A time as PostgreSQL reads one in milliseconds (parse_int in src/backend/utils/misc/guc.c): `5s`, `200 ms`, `1.5min`, `250`. */
function parseDuration(name: string, text: string, minMs: number, maxMs: number): number {
  const match = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match?.[2] === '' ? 1 : UNITS.find(([each]) => each === match?.[2])?.[1];
  if (match === null || unit === undefined) {
    const hint = 'Valid units for this parameter are "us", "ms", "s", "min", "h", and "d".';
    throw new ClientError({ sqlState: '22023', message: `invalid value for parameter "${name}": "${text}"`, hint });
  }
  const ms = Math.round(Number(match[1]) * unit);
  if (ms >= minMs && ms <= maxMs) return ms;
  throw new ClientError({
    sqlState: '22023',
    message: `${ms} ms is outside the valid range for parameter "${name}" (${minMs} ms .. ${maxMs} ms)`,
  });
}

/** As SHOW prints it: in the largest unit that gives a whole number. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0';
  const fitting = UNITS.find(([, size]) => ms % size === 0);
  return fitting === undefined ? `${ms}ms` : `${ms / fitting[1]}${fitting[0]}`;
}
