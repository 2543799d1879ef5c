import type { DrillKind } from '../../common/config/drills.ts';

/** What an operator, or the schedule, asks for. */
export interface DrillRequest {
  readonly kind: DrillKind;
  /** switchover: who takes over; lag: which follower; proxy: which proxy. Null: chosen. */
  readonly target: string | null;
  /** How long the fault lasts; null: the kind's own. */
  readonly seconds: number | null;
  /** freeze: what is stopped. */
  readonly what: 'postgres' | 'agent';
  /** Names of guards that must not keep it from running. */
  readonly override: readonly string[];
  /** What the canary connects to; null: the setting `drills.dsn`. Never kept. */
  readonly dsn: string | null;
  /** For the report: how it was asked for. */
  readonly by: string;
}

/** Everything that a plan is made from, as it was at one moment. Plain data. */
export interface DrillFacts {
  readonly cluster: string;
  /** Wall clock. */
  readonly atMs: number;
  readonly term: number;
  readonly leader: string | null;
  readonly writable: boolean;
  /** The route is held: a failover or switchover is under way. */
  readonly held: boolean;
  /** An operator has paused the cluster (maintenance), or clients on this proxy. */
  readonly maintenance: boolean;
  readonly clientsPaused: boolean;
  readonly nodes: readonly NodeFacts[];
  readonly sync: { readonly members: readonly string[]; readonly k: number } | null;
  /** Null where the leader could not be asked; `serverProblem` says why. */
  readonly server: ServerFacts | null;
  readonly serverProblem: string | null;
  readonly proxies: readonly string[];
  readonly self: string;
  readonly ttlMs: number;
  readonly marginMs: number;
  readonly limits: DrillLimits;
  /** Newest first. */
  readonly past: readonly PastDrill[];
}

export interface DrillLimits {
  readonly enabled: boolean;
  readonly spacingMs: number;
  readonly maxSeconds: number;
  readonly maxTransactionMs: number;
  readonly maxLagBytes: number;
  /** Hours of the day in which drills may run, as the cluster's settings have them; null: any. */
  readonly window: string | null;
}

export interface NodeFacts {
  readonly node: string;
  readonly state: string;
  readonly usable: boolean;
  readonly streaming: boolean;
  readonly lagBytes: number | null;
  readonly noFailover: boolean;
  readonly priority: number;
  /** A leader: it has checkpointed on its timeline, which pg_rewind needs of its source. */
  readonly rewindable: boolean | null;
  readonly note: string | null;
}

/** What the leader's PostgreSQL said. */
export interface ServerFacts {
  /** wal_log_hints or data checksums, and full_page_writes: without them pg_rewind refuses. */
  readonly rewindHints: boolean;
  readonly fullPageWrites: boolean;
  readonly transactions: readonly { readonly pid: number; readonly user: string; readonly seconds: number }[];
  readonly ddl: readonly { readonly pid: number; readonly what: string }[];
  readonly prepared: number;
  readonly backups: number;
}

export interface PastDrill {
  readonly id: string;
  readonly kind: DrillKind;
  readonly outcome: DrillOutcome;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly seconds: number | null;
  readonly what: string;
  readonly writeStallMs: number | null;
}

export type DrillOutcome = 'passed' | 'failed' | 'aborted';

export interface GuardResult {
  readonly name: string;
  readonly passed: boolean;
  /** It did not pass, and the operator said that it must not matter. */
  readonly overridden: boolean;
  /** False: no override helps. */
  readonly overridable: boolean;
  /** What was found, for a person. */
  readonly message: string;
}

export interface DrillPlan {
  readonly kind: DrillKind;
  /** What it happens to: a node, a proxy, or `every agent`. */
  readonly target: string;
  /** The nodes (or the proxy) that are told. */
  readonly targets: readonly string[];
  /** Who is expected to lead afterwards; null: nobody new. */
  readonly candidate: string | null;
  readonly seconds: number | null;
  readonly what: 'postgres' | 'agent';
  /** It is expected that the leader changes. */
  readonly changesLeader: boolean;
  readonly does: string;
  readonly expects: string;
  readonly predicted: Prediction;
  readonly guards: readonly GuardResult[];
  readonly allowed: boolean;
}

/** How long writes are expected to stand still. */
export interface Prediction {
  readonly stallMs: number;
  readonly worstMs: number | null;
  /** `3 past drills`, or `the settings`. */
  readonly from: string;
}

/** Something that happened in the cluster during a drill, in milliseconds since the drill's fault began. */
export interface Sighting {
  readonly atMs: number;
  readonly type:
    | 'struck'
    | 'lifted'
    | 'state'
    | 'leader-gone'
    | 'leader-taken'
    | 'held'
    | 'promoted'
    | 'open'
    | 'gone'
    | 'in-step';
  readonly node: string | null;
  readonly text: string;
}

/** How the time between the fault and the first write was spent; each null where it was not seen. */
export interface Phases {
  readonly detectionMs: number | null;
  readonly fenceMs: number | null;
  readonly electionMs: number | null;
  readonly promotionMs: number | null;
  readonly openingMs: number | null;
  readonly firstWriteMs: number | null;
}

export interface Check {
  readonly name: string;
  readonly passed: boolean;
  readonly text: string;
}

/** One lane of the canary, in words of numbers. */
export interface LaneReport {
  readonly done: number;
  readonly stallMs: number | null;
  readonly errors: Readonly<Record<string, number>>;
}

/** What happened to all clients of the proxy that runs the drill; only grows. */
export interface ClientCounts {
  readonly holds: { readonly served: number; readonly refused: number; readonly gone: number };
  readonly errors: Readonly<Record<string, number>>;
}

/** What is kept of a drill, and shown. Version 1. */
export interface DrillReport {
  readonly version: 1;
  readonly id: string;
  readonly kind: DrillKind;
  readonly cluster: string;
  readonly by: string;
  readonly proxy: string;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly outcome: DrillOutcome;
  /** Why it was aborted or could not be carried out; null otherwise. */
  readonly problem: string | null;
  readonly plan: DrillPlan;
  readonly leaderBefore: string | null;
  readonly leaderAfter: string | null;
  readonly termBefore: number;
  readonly termAfter: number;
  readonly phases: Phases;
  readonly writes: LaneReport & {
    /** False: they could not be looked up, and the counts below mean nothing. */
    readonly checked: boolean;
    readonly missing: number;
    readonly refusedFound: number;
    readonly unknownFound: number;
  };
  readonly reads: LaneReport;
  /** Reads of what the same session had just written. */
  readonly ownReads: { readonly done: number; readonly stale: number; readonly backwards: number };
  readonly reconnects: number;
  /** Writes of all clients that waited at the proxy that ran the drill. */
  readonly holds: ClientCounts['holds'];
  /** Errors that any client of that proxy was told, by SQLSTATE: the canary's among them. */
  readonly clientErrors: ClientCounts['errors'];
  readonly inStepMs: number | null;
  readonly worstLagBytes: number | null;
  readonly checks: readonly Check[];
  readonly timeline: readonly Sighting[];
  readonly series: Series;
}

/** Attempts by time, for the picture: bins of `binMs` from `fromMs` on. */
export interface Series {
  readonly fromMs: number;
  readonly binMs: number;
  readonly writes: readonly number[];
  readonly reads: readonly number[];
  readonly failed: readonly number[];
}
