/** What was done for one database since the start. Times in milliseconds. */
export interface Totals {
  transactions: number;
  queries: number;
  /** From clients, and to them. */
  receivedBytes: number;
  sentBytes: number;
  transactionMs: number;
  queryMs: number;
  waitMs: number;
  errors: number;
}

export class DatabaseTotals implements Totals {
  transactions = 0;
  queries = 0;
  receivedBytes = 0;
  sentBytes = 0;
  transactionMs = 0;
  queryMs = 0;
  waitMs = 0;
  errors = 0;
}

export const NO_TOTALS: Totals = Object.freeze(new DatabaseTotals());

/** How often averages are renewed; PgBouncer's `stats_period`. */
export const AVERAGE_PERIOD_MS = 60_000;

interface Snapshot {
  readonly atMs: number;
  readonly byDatabase: ReadonlyMap<string, Totals>;
}

/** Averages over the last whole period; before the first is over, since the start. */
export class Averages {
  #before: Snapshot;
  #last: Snapshot | null = null;

  constructor(nowMs: number) {
    this.#before = { atMs: nowMs, byDatabase: new Map() };
  }

  /** To be called once a period. */
  turn(databases: ReadonlyMap<string, Totals>, nowMs: number): void {
    if (this.#last !== null) this.#before = this.#last;
    this.#last = { atMs: nowMs, byDatabase: new Map([...databases].map(([name, totals]) => [name, { ...totals }])) };
  }

  /** What happened in `periodMs`. */
  of(database: string, totals: Totals, nowMs: number): { readonly delta: Totals; readonly periodMs: number } {
    const end = this.#last === null ? totals : (this.#last.byDatabase.get(database) ?? NO_TOTALS);
    const endMs = this.#last?.atMs ?? nowMs;
    const start = this.#before.byDatabase.get(database) ?? NO_TOTALS;
    return { delta: minus(end, start), periodMs: Math.max(1, endMs - this.#before.atMs) };
  }
}

function minus(a: Totals, b: Totals): Totals {
  return {
    transactions: a.transactions - b.transactions,
    queries: a.queries - b.queries,
    receivedBytes: a.receivedBytes - b.receivedBytes,
    sentBytes: a.sentBytes - b.sentBytes,
    transactionMs: a.transactionMs - b.transactionMs,
    queryMs: a.queryMs - b.queryMs,
    waitMs: a.waitMs - b.waitMs,
    errors: a.errors - b.errors,
  };
}
