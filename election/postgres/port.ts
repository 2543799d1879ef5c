import type { Lsn, Term } from '../../common/lsn.ts';

/**
 * One local PostgreSQL server, as the agent sees it. The real one (`server.ts`) drives the programs of a PostgreSQL
 * installation; the simulation models one. Every operation takes a signal and ends, one way or the other, soon
 * after it aborts. Operations that change the server are called one at a time by the agent, except `killNow`,
 * `sample` and `setSynchronous`, which may come at any moment.
 */
export interface PostgresServer {
  /** What is in the data directory. */
  inspect(signal: AbortSignal): Promise<DataDirectory>;
  /** initdb, then configuration and roles. The server is stopped when it ends. Only into an absent or empty directory. */
  initialise(signal: AbortSignal): Promise<void>;
  /**
   * pg_basebackup into a directory beside the data directory, then swapped in: an unfinished clone is never mistaken for data.
   * `keepAs`: what was there is kept under this name, unless something is already: then it has been, and this is younger.
   */
  clone(from: PeerAddress, keepAs: string | null, signal: AbortSignal): Promise<void>;
  /** pg_rewind against a running leader, with a marker file on disk while it is unfinished. Throws `RewindFailed`. */
  rewind(from: PeerAddress, signal: AbortSignal): Promise<void>;
  /**
   * Starts it and waits until it accepts the agent's own connections. Always *fenced* (pg_hba admits the agent only, and
   * followers where it leads) until `openToClients`.
   */
  start(options: StartOptions, signal: AbortSignal): Promise<void>;
  /** Lets clients in / shuts them out (pg_hba, reload, and on shutting out their backends are terminated). */
  openToClients(open: boolean, signal: AbortSignal): Promise<void>;
  /** `fast` writes a shutdown checkpoint, `immediate` is SIGQUIT. Resolves when no process of the server is left. */
  stop(mode: 'fast' | 'immediate', signal: AbortSignal): Promise<void>;
  /** SIGKILL to every process of the server; resolves when it has been proven that none is left. Idempotent. */
  killNow(): Promise<void>;
  /** `primary_conninfo` := peer, or '' for null; reload; for null also waits until the WAL receiver is gone. */
  follow(peer: PeerAddress | null, signal: AbortSignal): Promise<void>;
  /**
   * pg_promote and wait until it is out of recovery; from here on followers and copies are admitted, which no other server does.
   * Must be preceded by `setSynchronous` for the new term.
   */
  promote(signal: AbortSignal): Promise<PromotionResult>;
  /** `synchronous_standby_names = 'ANY k (…)'`, reload, and wait until it is in force. `k` 0: '' (alone by decision of the durability record). */
  setSynchronous(names: readonly string[], k: number, signal: AbortSignal): Promise<void>;
  /** Writes a row that names the term, and resolves when its commit was acknowledged by the synchronous quorum. */
  writeTermRow(term: Term, node: string, signal: AbortSignal): Promise<void>;
  /**
   * Replication slots by which these followers, and nobody else, may stream from the leader of this term. Those of other
   * terms and nodes are dropped; on a server that leads no more, all of them.
   */
  ensureSlots(term: Term, nodes: readonly string[], signal: AbortSignal): Promise<void>;
  checkpoint(signal: AbortSignal): Promise<void>;
  /** Null when the server does not run or does not answer within 300 ms or so. */
  sample(signal: AbortSignal): Promise<PostgresSample | null>;
  /** Called when the postmaster ends, whoever ended it. */
  onExit(listener: () => void): void;
  readonly postmasterPid: number | null;
}

/** A leader, and the term in which it leads: whoever follows it follows it in this term and in no other. */
export interface PeerAddress {
  readonly node: string;
  readonly term: Term;
  readonly host: string;
  readonly port: number;
}

export interface StartOptions {
  /** `follower` puts standby.signal down; `leader` removes it (only for a bootstrap or a node that holds the lease). */
  readonly role: 'leader' | 'follower';
  /** Whom to follow; null: nobody yet (recovery idles). Ignored for a leader. */
  readonly peer: PeerAddress | null;
}

export type DataDirectory =
  | { readonly kind: 'empty' }
  /** A clone or rewind that did not finish: to be cloned anew. */
  | { readonly kind: 'unfinished'; readonly what: 'clone' | 'rewind' | 'initdb' }
  | {
      readonly kind: 'data';
      readonly systemId: string;
      readonly timeline: number;
      /** From pg_control: whether it was shut down cleanly, and the latest checkpoint's position. */
      readonly cleanShutdown: boolean;
      readonly checkpointLsn: Lsn;
      readonly wasFollower: boolean;
    };

export interface PostgresSample {
  readonly pid: number;
  readonly version: string;
  readonly systemId: string;
  readonly inRecovery: boolean;
  readonly timeline: number;
  /** Follower: the end of what was received and flushed (or found by recovery). Leader: `pg_current_wal_flush_lsn()`. */
  readonly flushedLsn: Lsn;
  readonly replayedLsn: Lsn;
  readonly receiver: {
    readonly running: boolean;
    readonly streaming: boolean;
    readonly fromHost: string | null;
    readonly fromPort: number | null;
  };
  /** Leader only: application_name of each connected standby (= its node name). */
  readonly standbys: readonly {
    readonly node: string;
    readonly state: string;
    readonly flushedLsn: Lsn;
    readonly replayedLsn: Lsn;
    readonly isSync: boolean;
  }[];
  readonly synchronousStandbyNames: string;
  /** Where this node's timeline forked from the ones before: [timeline, end LSN] oldest first (from the .history file). */
  readonly history: readonly { readonly timeline: number; readonly endLsn: Lsn }[];
}

export interface PromotionResult {
  readonly timeline: number;
  /** The next transaction id at the end of recovery, before any write of the new term. */
  readonly nextXid: string;
}
