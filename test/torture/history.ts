/** What clients did and were told. Times are milliseconds of one monotonic clock, that of the process in which all clients are. */

/** `acknowledged`: told that it is done. `refused`: told that it is not. `unknown`: not told, or told that nobody knows. */
export type Verdict = 'acknowledged' | 'refused' | 'unknown';

/** One value appended to the list of a key. `n`, `timeline` and `server` are what the server returned with it, before any COMMIT. */
export interface Append {
  readonly key: number;
  /** Never used twice in a run. */
  readonly value: number;
  readonly n: number | null;
  readonly timeline: number | null;
  readonly server: string | null;
}

/** A statement by itself, or a transaction, of one session. */
export interface WriteOperation {
  readonly type: 'write';
  readonly session: number;
  readonly proxy: string;
  readonly startMs: number;
  /** When what commits it was sent: the statement itself, or COMMIT. Null where that never happened. */
  readonly commitMs: number | null;
  readonly endMs: number;
  readonly verdict: Verdict;
  /** Of the error, or `lost` where the connection ended; null without one. */
  readonly sqlState: string | null;
  readonly appends: readonly Append[];
}

/** The last entry of a key's list, as a session saw it; n = 0 for an empty list. */
export interface ReadOperation {
  readonly type: 'read';
  readonly session: number;
  readonly proxy: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly key: number;
  readonly n: number;
  readonly value: number;
  readonly server: string;
}

export type Operation = WriteOperation | ReadOperation;

/**
 * What the SQLSTATE of an error says of the transaction that it ended. 08007 is the one that leaves it open; every other
 * error is a promise that nothing of it will ever be there.
 */
export function verdictOf(sqlState: string): Verdict {
  return sqlState === '08007' || sqlState === 'lost' ? 'unknown' : 'refused';
}
