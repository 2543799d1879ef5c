import type { LiveConfig } from '../../common/config/live.ts';
import type { BackendPlace } from '../pool/place.ts';
import type { Unit } from '../session/unit.ts';
import type { DatabaseTotals } from './database-totals.ts';
import type { Recorder, RouteCell } from './recorder.ts';
import type { SlowLog } from './slow-log.ts';

/** What a session's activity is written to. */
export interface ActivityLog {
  readonly recorder: Recorder;
  readonly slow: SlowLog;
  readonly live: LiveConfig;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** Who the session is; `application` as it is at the moment. */
export interface ActivityOwner {
  readonly user: string;
  readonly database: string;
  application(): string;
}

const NEVER = Infinity;

/**
 * How long the units of one session took and where. In the path of each query: numbers are kept in fields, cells are
 * resolved by identity, and nothing is made unless a unit was slow.
 */
export class Activity {
  readonly owner: ActivityOwner;
  readonly #log: ActivityLog;
  /** Null until a server has let the session into its database. */
  #totals: DatabaseTotals | null = null;
  #cell: RouteCell | null = null;
  #begunMs = 0;
  #sentMs = 0;
  #transactionMs = -1;
  /** Of the unit under way: waiting for a leader, and for a follower that is fresh enough. */
  holdMs = 0;
  causalMs = 0;
  #slowMs = NEVER;
  #configVersion = -1;
  #tag: Buffer | null = null;
  #tagStart = 0;
  #tagEnd = 0;
  #receivedBytes = 0;
  #sentBytes = 0;

  constructor(log: ActivityLog, owner: ActivityOwner) {
    this.#log = log;
    this.owner = owner;
  }

  /** The client's messages are here, and need a server. */
  begin(): void {
    this.#begunMs = this.#log.nowMs();
    this.#sentMs = 0;
    this.holdMs = 0;
    this.causalMs = 0;
    this.#cell = null;
  }

  /** They go to a server; again, if it is run anew elsewhere. */
  sent(place: BackendPlace, unit: Unit): void {
    const { recorder } = this.#log;
    this.#totals ??= recorder.database(this.owner.database);
    const cell = recorder.cell(place.node, place.role, unit.plan);
    cell.count += 1;
    this.#cell = cell;
    this.#sentMs = this.#log.nowMs();
  }

  /** CommandComplete, for the slow-query log: kept as it is, and read only if it is wanted. */
  completed(buffer: Buffer, start: number, end: number): void {
    this.#tag = buffer;
    this.#tagStart = start;
    this.#tagEnd = end;
  }

  /** Ended by its server's ReadyForQuery. `open`: a transaction goes on. */
  end(unit: Unit | null, errored: boolean, open: boolean): void {
    const cell = this.#cell;
    const totals = this.#totals;
    if (cell === null || totals === null) return;
    const nowMs = this.#log.nowMs();
    const serverMs = nowMs - this.#sentMs;
    const waitMs = this.#sentMs - this.#begunMs;
    cell.sumMs += serverMs;
    cell.duration.observe(serverMs);
    this.#log.recorder.connectionWait.observe(Math.max(0, waitMs - this.holdMs - this.causalMs));
    totals.queries += 1;
    totals.queryMs += serverMs;
    totals.waitMs += waitMs;
    if (errored) totals.errors += 1;
    if (unit !== null && unit.key !== null) this.#statement(unit.key, cell, serverMs, errored);
    if (this.#transactionMs < 0) this.#transactionMs = this.#sentMs;
    if (!open) this.#endTransaction(totals, nowMs);
    if (nowMs - this.#begunMs >= this.#threshold()) this.#slow(unit, serverMs, errored ? 'error' : 'done');
    this.#cell = null;
    this.#tag = null;
  }

  /** Ended by an error of the proxy: no server was had, or it was lost. `open`: the client still thinks of a transaction. */
  fail(unit: Unit, sqlState: string, open: boolean): void {
    if (this.#begunMs === 0) return;
    const nowMs = this.#log.nowMs();
    const serverMs = this.#cell === null ? 0 : nowMs - this.#sentMs;
    if (this.#totals !== null) {
      this.#totals.errors += 1;
      if (!open && this.#transactionMs >= 0) this.#endTransaction(this.#totals, nowMs);
    }
    if (nowMs - this.#begunMs >= this.#threshold()) this.#slow(unit, serverMs, sqlState);
    this.#cell = null;
    this.#tag = null;
    this.#begunMs = 0;
  }

  /** Adds what went over the client's socket since the last time. */
  account(bytesRead: number, bytesWritten: number): void {
    const totals = this.#totals;
    if (totals === null) return;
    totals.receivedBytes += bytesRead - this.#receivedBytes;
    totals.sentBytes += bytesWritten - this.#sentBytes;
    this.#receivedBytes = bytesRead;
    this.#sentBytes = bytesWritten;
  }

  #statement(key: string, cell: RouteCell, serverMs: number, errored: boolean): void {
    const entry = this.#log.recorder.statements.entry(this.owner.database, key, cell.label);
    entry.calls += 1;
    entry.totalMs += serverMs;
    if (serverMs > entry.maxMs) entry.maxMs = serverMs;
    if (errored) entry.errors += 1;
    if (cell.role === 'leader') entry.onLeader += 1;
    else entry.onFollower += 1;
    entry.times.observe(serverMs);
  }

  #endTransaction(totals: DatabaseTotals, nowMs: number): void {
    const durationMs = nowMs - this.#transactionMs;
    this.#transactionMs = -1;
    totals.transactions += 1;
    totals.transactionMs += durationMs;
    this.#log.recorder.transactions.observe(durationMs);
  }

  #threshold(): number {
    const { live } = this.#log;
    if (live.version !== this.#configVersion) {
      const { slowQueryMs } = live.scopeOf(this.owner.database, this.owner.user);
      this.#slowMs = slowQueryMs < 0 ? NEVER : slowQueryMs;
      this.#configVersion = live.version;
    }
    return this.#slowMs;
  }

  #slow(unit: Unit | null, serverMs: number, outcome: string): void {
    const durationMs = this.#log.nowMs() - this.#begunMs;
    this.#log.slow.write({
      owner: this.owner,
      unit,
      outcome,
      durationMs,
      serverMs,
      holdMs: this.holdMs,
      causalMs: this.causalMs,
      cell: this.#cell,
      tag: this.#tag === null ? null : this.#tag.toString('utf8', this.#tagStart + 5, this.#tagEnd - 1),
    });
  }
}
