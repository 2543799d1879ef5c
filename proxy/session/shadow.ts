import type { Clock } from '../../common/clock.ts';
import type { FreshnessSnapshot, ReplicationMonitor } from '../../replication-monitor/types.ts';
import { chooseFollower, type FollowerRequest } from '../routing/choose-node.ts';

/**
 * What the reads of one user in one database would have done with the split on, while everything goes to the leader.
 * `naive` is a splitter that sends reads to any follower that answers.
 */
export interface ShadowRow {
  readonly database: string;
  readonly user: string;
  /** Reads, and READ ONLY transactions, that the split would have sent to a follower. */
  reads: number;
  /** A follower that is fresh enough was there; or came within the causal wait; or not, and the leader would have served. */
  follower_at_once: number;
  follower_after_wait: number;
  leader: number;
  /** No follower was usable at all. */
  no_follower: number;
  wait_total_ms: number;
  wait_max_ms: number;
  /** A naive splitter’s follower was not known to show a commit of this very session. */
  naive_stale: number;
  /** For how long after the read that stayed so. */
  stale_total_ms: number;
  stale_max_ms: number;
  /** Too many at once to be followed: neither waits nor staleness are known of them. */
  unmeasured: number;
}

/** A read whose outcome is still to be seen. */
interface Watched {
  readonly row: ShadowRow;
  readonly request: FollowerRequest;
  readonly startedMs: number;
  /** Until when a follower may become fresh enough; null: that is settled. */
  untilMs: number | null;
  /** The naive splitter’s follower that may lack a commit of the session; null: that is settled. */
  naive: string | null;
}

const MAX_WATCHED = 1_000;
const MAX_ROWS = 1_000;
/** Staleness beyond this is counted as so much. */
const WATCH_MS = 10_000;
/** Reads of users beyond the bound are counted together under this name, which no role can have with a database of it. */
const OTHERS = '(others)';

/**
 * Shadow mode’s record. It loads no follower with reads: it only looks at what the monitor knows, and wakes the monitor as a
 * waiting read would. Nothing of it is in the path of sessions that are not shadowed.
 */
export class ShadowLog {
  readonly #monitor: ReplicationMonitor;
  readonly #clock: Clock;
  readonly #rows = new Map<string, ShadowRow>();
  readonly #watched = new Set<Watched>();
  #stop: (() => void) | null = null;

  constructor(monitor: ReplicationMonitor, clock: Clock) {
    this.#monitor = monitor;
    this.#clock = clock;
  }

  get rows(): readonly ShadowRow[] {
    return [...this.#rows.values()];
  }

  /** A read that goes to the leader only because of shadow mode. */
  note(database: string, user: string, request: FollowerRequest, causalWaitMs: number): void {
    const row = this.#rowOf(database, user);
    row.reads += 1;
    const { snapshot } = this.#monitor;
    const naive = chooseFollower(snapshot, { ...request, level: 'eventual', maxStalenessMs: Number.POSITIVE_INFINITY });
    if (naive.kind !== 'follower') {
      row.no_follower += 1;
      return;
    }
    const choice = chooseFollower(snapshot, request);
    if (choice.kind === 'follower') row.follower_at_once += 1;
    const waits = choice.kind === 'wait';
    if (choice.kind === 'leader') row.leader += 1;
    const stale = !isShown(snapshot, naive.node, request);
    if (stale) row.naive_stale += 1;
    if (!waits && !stale) return;
    if (this.#watched.size >= MAX_WATCHED) {
      row.unmeasured += 1;
      return;
    }
    const startedMs = this.#clock.nowMs();
    // The floor is a session’s own and moves on: what counts is how it was.
    const kept = { ...request, floor: { ...request.floor } };
    const untilMs = waits ? startedMs + causalWaitMs : null;
    this.#watched.add({ row, request: kept, startedMs, untilMs, naive: stale ? naive.node : null });
    this.#stop ??= this.#monitor.subscribe((next) => this.#look(next));
    this.#monitor.wake();
  }

  #look(snapshot: FreshnessSnapshot): void {
    const nowMs = this.#clock.nowMs();
    for (const watched of this.#watched) {
      this.#lookAtWait(watched, snapshot, nowMs);
      lookAtStaleness(watched, snapshot, nowMs);
      if (watched.untilMs === null && watched.naive === null) this.#watched.delete(watched);
    }
    if (this.#watched.size > 0) return;
    this.#stop?.();
    this.#stop = null;
  }

  #lookAtWait(watched: Watched, snapshot: FreshnessSnapshot, nowMs: number): void {
    const { row, request, startedMs, untilMs } = watched;
    if (untilMs === null) return;
    if (nowMs > untilMs) {
      row.leader += 1;
      watched.untilMs = null;
    } else if (chooseFollower(snapshot, request).kind === 'follower') {
      const waitedMs = nowMs - startedMs;
      row.follower_after_wait += 1;
      row.wait_total_ms += waitedMs;
      row.wait_max_ms = Math.max(row.wait_max_ms, waitedMs);
      watched.untilMs = null;
    } else {
      this.#monitor.wake();
    }
  }

  #rowOf(database: string, user: string): ShadowRow {
    const key = `${database}\0${user}`;
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    if (this.#rows.size >= MAX_ROWS && database !== OTHERS) return this.#rowOf(OTHERS, OTHERS);
    const row = emptyRow(database, user);
    this.#rows.set(key, row);
    return row;
  }
}

function lookAtStaleness(watched: Watched, snapshot: FreshnessSnapshot, nowMs: number): void {
  const { row, request, startedMs, naive } = watched;
  if (naive === null) return;
  const staleMs = Math.min(nowMs - startedMs, WATCH_MS);
  if (staleMs < WATCH_MS && !isShown(snapshot, naive, request)) return;
  row.stale_total_ms += staleMs;
  row.stale_max_ms = Math.max(row.stale_max_ms, staleMs);
  watched.naive = null;
}

/** Whether the node is known to show what the session was told is committed. */
function isShown(snapshot: FreshnessSnapshot, node: string, request: FollowerRequest): boolean {
  return (snapshot.nodes.get(node)?.freshAsOfMs ?? Number.NEGATIVE_INFINITY) >= request.floor.committedAtMs;
}

function emptyRow(database: string, user: string): ShadowRow {
  return {
    database,
    user,
    reads: 0,
    follower_at_once: 0,
    follower_after_wait: 0,
    leader: 0,
    no_follower: 0,
    wait_total_ms: 0,
    wait_max_ms: 0,
    naive_stale: 0,
    stale_total_ms: 0,
    stale_max_ms: 0,
    unmeasured: 0,
  };
}
