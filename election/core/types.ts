import { type Lsn, NO_TERM, type Term } from '../../common/lsn.ts';
import type { DataDirectory, PeerAddress, PostgresSample, PromotionResult } from '../postgres/port.ts';
import type { LeaseId, StoreKey, Transaction } from '../store/port.ts';
import type { PledgeRecord } from '../store/records.ts';
import type { ClusterView } from './cluster-view.ts';
import type { AgentState } from './state.ts';

/**
 * The agent's decisions as plain data: `step(state, input)` gives the next state and the effects to carry out.
 * The shell (`election/agent.ts`) and the simulation carry effects out; each effect with an `id` is answered by
 * exactly one `effect-done` or `effect-failed` naming it (also a cancelled one, or the answer is dropped: answers to
 * ids that are no longer awaited are ignored). Inputs are given strictly one after another. Effects of one step are
 * *started* in their order and run side by side; the core never starts two effects at once that exclude each other
 * (`PostgresServer` operations other than `pg-kill`, `pg-sample`, `pg-set-synchronous`, `pg-write-term-row`,
 * `pg-ensure-slots`, `pg-checkpoint` are started one at a time, unless a `pg-kill` overtakes a hanging one, which is
 * then cancelled first).
 */
export type Step = (state: AgentState, input: Input) => StepResult;

export interface StepResult {
  readonly state: AgentState;
  readonly effects: readonly Effect[];
}

/** What the core has to know of its configuration. Durations in milliseconds. */
export interface CoreConfig {
  readonly cluster: string;
  readonly node: string;
  /** Where peers and proxies reach this node's PostgreSQL. */
  readonly address: { readonly host: string; readonly port: number };
  readonly apiUrl: string;
  /** A fresh random name for each start of the agent. */
  readonly bootId: string;
  readonly agentPid: number;
  readonly ttlMs: number;
  readonly marginMs: number;
  readonly syncAcks: number;
  readonly withoutFollower: 'go-on' | 'hold';
  readonly priority: number;
  readonly noFailover: boolean;
}

/** What the agent keeps on its own disk (fsynced), read at its start and replaced as a whole by `save-local`. */
export interface LocalState {
  /** This node takes no WAL from a term below `pledge.term`. */
  readonly pledge: PledgeRecord | null;
  /**
   * The term of the leader whose WAL the data directory last agreed to take, or which it led. With `history/<term>`
   * it tells two timelines apart that carry the same number (lineage.ts). 0: unknown.
   */
  readonly lineageTerm: Term;
  /** The term whose content the data ended with at that moment: true as long as nothing of `lineageTerm` has come. */
  readonly baseTerm: Term;
  /** initdb ran (or runs) here, and no `system` key has confirmed it: the data holds nothing that was acknowledged. */
  readonly bootstrapping: boolean;
}

export const EMPTY_LOCAL_STATE: LocalState = {
  pledge: null,
  lineageTerm: NO_TERM,
  baseTerm: NO_TERM,
  bootstrapping: false,
};

/** `nowMs`: this node's own clock, which only goes forward, also while the machine sleeps. `random`: in [0, 1). */
interface InputBase {
  readonly nowMs: number;
  readonly random: number;
  /** Wall-clock time as ISO text; only ever copied into `history` for people. */
  readonly wallTime: string;
}

export type Input = InputBase &
  (
    | { readonly type: 'tick' } // at least every 50 ms while the process runs; the first input of all is a tick
    | { readonly type: 'cluster'; readonly view: ClusterView } // from `LeaseStore.follow`; revisions never go back
    | { readonly type: 'store-unreachable' }
    /** The postmaster ended, whoever ended it (also as the result of `pg-stop`; then before its `effect-done`, or after). */
    | { readonly type: 'postgres-exit' }
    | { readonly type: 'effect-done'; readonly id: number; readonly outcome: Outcome }
    | { readonly type: 'effect-failed'; readonly id: number; readonly failure: Failure }
    /** `failover`: a leader gives up its lease at once. `stop`: the process is to end in order (`finished`). */
    | { readonly type: 'command'; readonly command: 'failover' | 'stop' }
    /** An operator (`by`, for the history) consents to this node's promotion although something may be lost (forced.ts). */
    | { readonly type: 'command'; readonly command: 'force'; readonly by: string }
  );

export type InputType = Input['type'];

/** `sentAtMs`: this node's clock when the request was *sent* (the attempt that succeeded, or earlier; never later). */
export type Outcome =
  | { readonly type: 'none' }
  | { readonly type: 'lease'; readonly lease: LeaseId; readonly ttlMs: number; readonly sentAtMs: number }
  /** `ttlMs` 0: the lease is gone. */
  | { readonly type: 'kept'; readonly ttlMs: number; readonly sentAtMs: number }
  | {
      readonly type: 'transaction';
      readonly succeeded: boolean;
      readonly revision: number;
      readonly gets: readonly (StoreKey | null)[];
      readonly sentAtMs: number;
    }
  | { readonly type: 'data'; readonly data: DataDirectory }
  | { readonly type: 'promoted'; readonly result: PromotionResult }
  | { readonly type: 'sample'; readonly sample: PostgresSample | null };

/** `applied` is `StoreError.outcome` for store effects; 'unknown' for all others. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly applied: 'not-applied' | 'unknown';
}

/** `timeoutMs`: the shell aborts the effect then and answers `effect-failed` (code `TIMEOUT`). */
interface EffectBase {
  readonly id: number;
  readonly timeoutMs: number;
}

export type StoreEffect = EffectBase &
  (
    | { readonly type: 'grant-lease'; readonly ttlMs: number } // → lease
    | { readonly type: 'keep-alive'; readonly lease: LeaseId } // → kept
    | { readonly type: 'transact'; readonly transaction: Transaction } // → transaction
    | { readonly type: 'revoke-lease'; readonly lease: LeaseId } // → none
  );

/** One call of `PostgresServer` each, see `election/postgres/port.ts`. */
export type PostgresEffect = EffectBase &
  (
    | { readonly type: 'pg-inspect' } // → data
    | { readonly type: 'pg-initialise' } // → none; stopped when it ends
    /** → none; the server is stopped before and after. `keepAs`: the data that it replaces is kept under this name. */
    | { readonly type: 'pg-clone'; readonly from: PeerAddress; readonly keepAs: string | null }
    | { readonly type: 'pg-rewind'; readonly from: PeerAddress } // → none; the server is stopped before and after
    /** → none. Starts fenced: the agent only. A follower has replayed the WAL it has, or goes on doing so. */
    | { readonly type: 'pg-start'; readonly role: 'leader' | 'follower'; readonly peer: PeerAddress | null }
    | { readonly type: 'pg-open'; readonly open: boolean } // → none
    | { readonly type: 'pg-stop'; readonly mode: 'fast' | 'immediate' } // → none; no process left
    /** → none, when no process of the server is left. Overtakes everything; also right when none runs. */
    | { readonly type: 'pg-kill' }
    | { readonly type: 'pg-follow'; readonly peer: PeerAddress | null } // → none; null: the WAL receiver is gone
    /** → promoted. Everything received is replayed first, then a new timeline begins. */
    | { readonly type: 'pg-promote' }
    | { readonly type: 'pg-set-synchronous'; readonly names: readonly string[]; readonly k: number } // → none; in force
    | { readonly type: 'pg-write-term-row'; readonly term: Term } // → none, when the quorum in force acknowledged it
    | { readonly type: 'pg-ensure-slots'; readonly term: Term; readonly nodes: readonly string[] } // → none
    | { readonly type: 'pg-checkpoint' } // → none
    | { readonly type: 'pg-sample' } // → sample
  );

export type Effect =
  | StoreEffect
  | PostgresEffect
  /** → none, once the whole local state is on the disk. */
  | (EffectBase & { readonly type: 'save-local'; readonly local: LocalState })
  /** Aborts an effect that runs. Its answer is ignored. */
  | { readonly type: 'cancel'; readonly id: number }
  /**
   * The watchdog kills PostgreSQL before this moment (SIGQUIT 500 ms, SIGKILL 200 ms before it) unless it is fed a
   * later one; null: there is no lease, leave PostgreSQL alone. It goes on by itself when the agent is paused or dead.
   */
  | { readonly type: 'feed-watchdog'; readonly deadlineMs: number | null }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly event: string;
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number | boolean | null>>;
    }
  /** The agent is over: PostgreSQL is stopped, the keys are given back. `error`: why it cannot go on. Nothing follows. */
  | { readonly type: 'finished'; readonly error: string | null };

/** How far a copy goes: the term whose content it ends with, then the position, as Raft compares logs. */
export interface Position {
  readonly lineage: Term;
  readonly flushedLsn: Lsn;
}
