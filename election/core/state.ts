import { NO_TERM, type Term } from '../../common/lsn.ts';
import type { DataDirectory, PeerAddress, PostgresSample } from '../postgres/port.ts';
import type { LeaseId } from '../store/port.ts';
import type { SwitchoverRecord } from '../store/records.ts';
import type { ClusterView } from './cluster-view.ts';
import type { LeaderSeen } from './forced.ts';
import type { SyncSet } from './sync-quorum.ts';
import type { CoreConfig, LocalState } from './types.ts';

/** Everything the core remembers. Facts that outlive a mode stand here; `mode` is the state of the machine. */
export interface AgentState {
  readonly config: CoreConfig;
  readonly mode: Mode;
  readonly nowMs: number;
  readonly random: number;
  readonly wallTime: string;
  /** What is on the disk. */
  readonly local: LocalState;
  readonly savingLocal: LocalState | null;
  /** Null until the store has answered once. */
  readonly view: ClusterView | null;
  /** Since when the view shows no leader key; null while there is one, or before the first view. */
  readonly leaderGoneSinceMs: number | null;
  /** A leader key that hangs on no lease, by its mod revision, and since when it has been seen so. */
  readonly leaderWithoutLease: { readonly revision: number; readonly sinceMs: number } | null;
  /** Revision of the latest transaction that this node made as (or to become) leader: older views say nothing of it. */
  readonly ownRevision: number;
  readonly server: ServerFacts;
  readonly memberLease: MemberLease | null;
  readonly published: { readonly text: string; readonly atMs: number } | null;
  readonly slots: { readonly text: string; readonly nodes: readonly string[]; readonly atMs: number } | null;
  readonly slotsRetryAtMs: number;
  readonly memberRetryAtMs: number;
  /** The leader's lease, granted ahead of the race for it; null when none is held. */
  readonly lease: { readonly id: LeaseId; readonly sentAtMs: number } | null;
  readonly attempt: Attempt | null;
  /** What is under way, one effect at most in each lane. */
  readonly pending: { readonly [L in Lane]?: PendingEffect };
  readonly nextId: number;
  /** No new attempt at what failed before this moment. */
  readonly retryAtMs: number;
  readonly failures: number;
  /** `stop` was asked for. */
  readonly stopping: boolean;
  /** This node gave the lease up itself at this moment: it lets others go first. */
  readonly resignedAtMs: number | null;
  /** An operator's word that this node may be promoted for `term` although something is lost by it. */
  readonly consent: { readonly term: Term; readonly by: string; readonly untilMs: number } | null;
  /** Where the last leader was seen, that a forced promotion can say what it gives up. */
  readonly leaderSeen: LeaderSeen | null;
  /** The switchover that is asked for, and since when this leader knows of it. */
  readonly asked: { readonly id: string; readonly atMs: number } | null;
  /** This process has followed or led somebody: what follows is no cold start. */
  readonly hadLeader: boolean;
  /** The data was copied from this term's leader, and is consistent only once it has streamed from it. */
  readonly copiedFrom: Term | null;
  /** A rewind was done towards this term's leader: if the data still does not fit, it is cloned. */
  readonly rewoundFor: Term | null;
  readonly note: string | null;
}

export interface ServerFacts {
  readonly data: DataDirectory | null;
  /** Started by us and not known to have ended. */
  readonly running: boolean;
  readonly sample: PostgresSample | null;
  readonly sampledAtMs: number;
  /** When that sample was asked for: what it says was true at this moment or later. */
  readonly askedAtMs: number;
  /** It ended while its start was still to be reported. */
  readonly diedStarting: boolean;
  /** Clients are let in. */
  readonly open: boolean;
  /** Since when a follower that was told whom to follow has not been streaming; null while it streams. */
  readonly idleSinceMs: number | null;
}

export interface MemberLease {
  readonly id: LeaseId;
  readonly renewedAtMs: number;
}

/** `server`: whatever excludes each other on PostgreSQL. */
export type Lane =
  | 'server'
  | 'kill'
  | 'sync'
  | 'row'
  | 'slots'
  | 'checkpoint'
  | 'sample'
  | 'local'
  | 'lease'
  | 'guard'
  | 'decide'
  | 'member-lease'
  | 'member-put'
  | 'revoke';

export interface PendingEffect {
  readonly id: number;
  /** What the answer is for: `start`, `acquire`, … */
  readonly what: string;
  readonly sinceMs: number;
}

/** What an acquire transaction stood on: the views that come before its answer may show its effects already. */
export interface Attempt {
  readonly term: Term;
  readonly reason: Lead['reason'];
  readonly previousLeader: string | null;
  readonly parent: Term;
  readonly recorded: SyncSet;
  readonly routeSeq: number;
  /** For the history: what an operator consented to. */
  readonly detail: string | null;
}

/** What a holder of the leader key knows of its hold on it. */
export interface Lead {
  readonly term: Term;
  /** Guards every write: the leader key is ours while its create revision is this. */
  readonly createRevision: number;
  readonly lease: LeaseId;
  /** `sentAt` of the last keep-alive (or grant) that succeeded, and of the last guarded write that did. */
  readonly keptAtMs: number;
  readonly guardedAtMs: number;
  /** When the next renewal is due. */
  readonly renewAtMs: number;
  readonly reason: 'bootstrap' | 'failover' | 'switchover' | 'restart' | 'forced';
  readonly previousLeader: string | null;
  /** The term whose content this node's copy ended with when it was elected. */
  readonly parent: Term;
  readonly detail: string | null;
  /** Mod revisions of `route` and `sync` as this leader knows them; 0: absent. */
  readonly routeRevision: number;
  readonly syncRevision: number;
  readonly routeSeq: number;
  readonly nextXid: string | null;
  readonly timeline: number;
  /** What PostgreSQL was last told; null before the first time. */
  readonly applied: SyncSet | null;
  /** The durability record, as the last write of it that is known to have succeeded. */
  readonly recorded: SyncSet;
  /** A record whose write has not been confirmed: it is written again until the answer is known. */
  readonly recording: SyncSet | null;
  /** A raise of the durability record that waits for followers to have flushed what was acknowledged before. */
  readonly barrier: SyncBarrier | null;
  /** Since when each member of the set in force has not been streaming. */
  readonly missingSinceMs: ReadonlyMap<string, number>;
  /** When the route was opened first; null before. */
  readonly openedAtMs: number | null;
  readonly rewindable: boolean;
  /** When PostgreSQL last answered, or the lead began. */
  readonly aliveAtMs: number;
}

export interface SyncBarrier {
  readonly target: SyncSet;
  readonly sinceMs: number;
  /** Null until a sample taken well after PostgreSQL was told has said where the leader stood. */
  readonly lsn: bigint | null;
}

export type Mode =
  | { readonly kind: 'INIT'; readonly killed: boolean }
  | {
      readonly kind: 'CLONING';
      readonly from: PeerAddress;
      readonly term: Term;
      /** The forced term that gave up what the data may hold: it is kept aside; null: it is worth nothing. */
      readonly keep: Term | null;
      readonly phase: 'stop' | 'clone' | 'save';
    }
  | {
      readonly kind: 'FOLLOWER';
      /** The term whose leader PostgreSQL was told to follow; null: nobody. */
      readonly attached: Term | null;
      /** Its WAL receiver is off, and all that is on its disk is counted: its position says how it may go on. */
      readonly settled: boolean;
    }
  | {
      readonly kind: 'PLEDGED';
      readonly term: Term;
      readonly phase: 'unfollow' | 'sample' | 'save' | 'publish' | 'ready';
      /** Not before this moment, unless it is the best candidate. */
      readonly raceAtMs: number;
    }
  | { readonly kind: 'CANDIDATE'; readonly term: Term; readonly phase: 'lease' | 'acquire' }
  | {
      readonly kind: 'PROMOTING';
      readonly lead: Lead;
      readonly phase: PromotingPhase;
      /** What `prepare` still waits for; its parts run side by side. */
      readonly left: readonly Preparation[];
    }
  | { readonly kind: 'LEADER_HELD'; readonly lead: Lead; readonly phase: 'row' | 'open' | 'route' }
  | { readonly kind: 'LEADER_OPEN'; readonly lead: Lead; readonly request: SwitchoverPlan | null }
  | {
      readonly kind: 'DRAINING';
      readonly lead: Lead;
      readonly request: SwitchoverPlan;
      readonly phase: 'drain' | 'stop' | 'inspect' | 'verify' | 'handover' | 'abort';
      readonly untilMs: number;
      /** The shutdown checkpoint. */
      readonly finalLsn: bigint | null;
    }
  | {
      readonly kind: 'DEMOTING';
      readonly lead: Lead;
      readonly reason: string;
      readonly phase: 'stop' | 'kill' | 'release';
      readonly stopMode: 'fast' | 'immediate';
      /** SIGKILL from here on. */
      readonly killAtMs: number;
    }
  | { readonly kind: 'FENCED'; readonly phase: 'start' | 'stop' | 'leave' | 'over'; readonly untilMs: number }
  | {
      readonly kind: 'REWINDING';
      /** The term whose content the data ended with before. */
      readonly base: Term;
      readonly from: PeerAddress;
      readonly term: Term;
      readonly phase: 'stop' | 'rewind' | 'save';
    };

export type PromotingPhase =
  | 'save' // bootstrap only: this node's disk knows that it makes the cluster
  | 'initialise' // bootstrap only
  | 'inspect' // bootstrap only
  | 'start' // bootstrap only
  | 'prepare'
  | 'promote'
  | 'sample' // where the timelines part
  | 'announce'; // route{hold}, history and the member record, guarded

export type Preparation =
  | 'lineage' // the disk knows which term's content begins
  | 'fence' // clients out: nothing is acknowledged before the quorum has confirmed the term
  | 'synchronous'; // not one commit of the new term is acknowledged by the leader alone

export interface SwitchoverPlan {
  readonly request: SwitchoverRecord;
  readonly target: string;
  readonly phase: 'checkpoint' | 'hold';
}

export type ModeOf<K extends Mode['kind']> = Extract<Mode, { readonly kind: K }>;

/** No leader yet: what a member record says of the term. */
export function termOf(mode: Mode): Term {
  switch (mode.kind) {
    case 'PROMOTING':
    case 'LEADER_HELD':
    case 'LEADER_OPEN':
    case 'DRAINING':
    case 'DEMOTING':
      return mode.lead.term;
    case 'FOLLOWER':
      return mode.attached ?? NO_TERM;
    case 'REWINDING':
    case 'CLONING':
    case 'PLEDGED':
    case 'CANDIDATE':
      return mode.term;
    case 'INIT':
    case 'FENCED':
      return NO_TERM;
  }
}
