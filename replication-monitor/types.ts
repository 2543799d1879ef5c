import type { Lsn, Term } from '../common/lsn.ts';
import type { Running, Shown } from './settled.ts';

/**
 * Where each node stands against the leader, from one place per process. All times are this process's monotonic
 * clock in milliseconds (`Clock.nowMs`), never wall clock, never another machine's.
 */
export interface FreshnessSnapshot {
  readonly term: Term;
  readonly leader: string | null;
  readonly takenAtMs: number;
  /**
   * The newest moment as of which any node can be fresh: when the request was sent that a leader answered last, in
   * this term or an earlier one. It stands still while there is no leader, as the data do. -Infinity: never.
   */
  readonly leaderHeardAtMs: number;
  readonly nodes: ReadonlyMap<string, NodeFreshness>;
  /** What any follower has shown before this moment the leader shows too (settled.ts). A lower bound; -Infinity: nothing is known. */
  readonly settledAsOfMs: number;
  /** What the leader of this term answered so far, oldest first, both growing: see `momentOf` in freshness.ts. */
  readonly marks: readonly Mark[];
}

/** What one probe of one node said. Positions are bytes. */
export interface ProbeSample {
  /** Local time at which the request was sent. */
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  readonly systemId: string;
  readonly inRecovery: boolean;
  /** Leader: pg_current_wal_insert_lsn(). Follower: NO_LSN. */
  readonly insertLsn: Lsn;
  /** Leader: pg_current_wal_flush_lsn(). Follower: pg_last_wal_receive_lsn(), or the replayed position without one. */
  readonly flushedLsn: Lsn;
  /** Follower: pg_last_wal_replay_lsn(). Leader: NO_LSN. */
  readonly replayedLsn: Lsn;
  /**
   * Leader: of the WAL that it writes. Follower: that its WAL receiver takes from a leader (PostgreSQL attaches it
   * only if what is replayed lies on that timeline's history); null while it takes none.
   */
  readonly timeline: number | null;
  /** Of the last restart point when the connection was made: a follower has replayed a checkpoint of that timeline. */
  readonly restartTimeline: number;
  readonly streaming: boolean;
  readonly walBlockSize: number;
  readonly walSegmentSize: number;
  /** Leader: which transactions it was running. Follower: null. */
  readonly running: Running | null;
  /** Follower: what it said of those that it was asked about; null: it was asked about none. */
  readonly shown: Shown | null;
}

/** A leader that was asked at `sentAtMs` had inserted WAL up to `lsn`. */
export interface Mark {
  readonly sentAtMs: number;
  readonly lsn: Lsn;
}

export interface NodeFreshness {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly role: 'leader' | 'follower' | 'unknown';
  /**
   * A follower shows every commit that was acknowledged through this process before this moment
   * (DESIGN.md, "Freshness without clocks or cost"). -Infinity: nothing is known. A lower bound.
   * For the leader of the term: +Infinity.
   */
  readonly freshAsOfMs: number;
  /**
   * Since this moment the server is known to have run without a break, so that what it showed then it still shows.
   * (After a crash it may come back at an earlier position.) +Infinity: not known to run.
   */
  readonly runningSinceMs: number;
  /** Since when no attempt to reach it has had any answer, not even a refusal of the server's; null: it is there. */
  readonly unreachableSinceMs: number | null;
  /** What this follower has shown before this moment, its server running since, the leader shows too (settled.ts). */
  readonly settledAsOfMs: number;
  /** Transactions that it shows as committed, and the leader, when asked last, did not. */
  readonly unsettled: number;
  /** Reachable, in recovery, of the leader's lineage (by term) and timeline, system id right. Only such a follower may serve reads. */
  readonly usable: boolean;
  readonly streaming: boolean;
  readonly timeline: number;
  readonly flushedLsn: Lsn;
  readonly replayedLsn: Lsn;
  /** Leader's insert position minus this node's replayed one, at the last common sample; null where unknown. */
  readonly lagBytes: bigint | null;
  /** Why it is not usable, for people. */
  readonly problem: string | null;
  /** Round trip of the last probe. */
  readonly probeMs: number | null;
}

/** Whom to sample: from the route key and the members. */
export interface MonitorTargets {
  readonly term: Term;
  readonly leader: string | null;
  readonly nodes: readonly MonitorTarget[];
}

export interface MonitorTarget {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  /**
   * The term whose leader the node's agent has made it follow: it does so only if what the node holds lies in that leader's lineage, and
   * else rewinds or clones it first. Null: it says that it follows nobody now.
   */
  readonly follows: Term | null;
}

export interface ReplicationMonitor {
  readonly snapshot: FreshnessSnapshot;
  /** Replaces the targets; see `retarget` in freshness.ts for what a new term keeps. */
  setTargets(targets: MonitorTargets): void;
  /** Samples as soon as possible instead of at the next tick; one round of sampling serves all who ask meanwhile. */
  wake(): void;
  /** Finds out as soon as possible what of the node (null: of any follower) is settled, until what it returns is called. */
  settle(node: string | null): () => void;
  /** Calls the listener after each new snapshot. Returns how to stop that. */
  subscribe(listener: (snapshot: FreshnessSnapshot) => void): () => void;
  close(): Promise<void>;
}
