import { type Lsn, NO_LSN, type Term } from '../common/lsn.ts';
import { leaderPosition } from './leader-position.ts';
import {
  afterFollower,
  afterLeader,
  NOTHING_SETTLED,
  type Settled,
  underNewLeader,
  withoutPending,
} from './settled.ts';
import type { FreshnessSnapshot, Mark, MonitorTargets, NodeFreshness, ProbeSample } from './types.ts';

/**
 * Freshness without clocks (DESIGN.md), as pure functions over what the probes answered.
 *
 * The leader is asked for its WAL insert position in a request sent at local time t, and answers L. Whatever commit
 * was acknowledged through this process before t lies at or below L: (t, L) is a *mark*. A follower on the leader's
 * timeline that has replayed up to L or further shows every such commit: it is fresh as of t.
 *
 * The insert position, not the flushed one: with synchronous_commit = off a commit is acknowledged before its record
 * is written out, let alone replicated, but never before it is inserted. Transactions without WAL (temporary and
 * unlogged tables only) show nothing on a follower anyway.
 */
export interface FreshnessState {
  readonly targets: MonitorTargets;
  /** What the leader said of itself, this term's or, until that one answered, the one before; null until any did. */
  readonly timeline: number | null;
  readonly systemId: string | null;
  /** Whether the leader of this term has answered. */
  readonly heard: boolean;
  /** When the request was sent that a leader of whatever term answered last. */
  readonly leaderHeardAtMs: number;
  /** Of this term. Oldest first, both times and positions strictly growing, at most MAX_MARKS. */
  readonly marks: readonly Mark[];
  readonly nodes: ReadonlyMap<string, NodeState>;
  readonly settled: Settled;
}

export interface NodeState {
  /** Since the connection was made; null when there is none that has answered. */
  readonly sample: ProbeSample | null;
  /** The timeline that this follower was last seen on over this connection. */
  readonly timeline: number | null;
  /** It is known to hold the content of the last leader that was heard, and nothing that parted from it. */
  readonly kin: boolean;
  readonly freshAsOfMs: number;
  /** When the connection's first answered request was sent: since then the server has run without a break. */
  readonly runningSinceMs: number;
  /** Set while it does not answer. */
  readonly failure: string | null;
  /** Since when no attempt to reach it has had any answer; null: it answers, or refuses us itself. */
  readonly unreachableSinceMs: number | null;
}

export const MAX_MARKS = 512;

export function initialFreshness(targets: MonitorTargets): FreshnessState {
  return {
    targets,
    timeline: null,
    systemId: null,
    heard: false,
    leaderHeardAtMs: NEVER,
    marks: [],
    nodes: new Map(targets.nodes.map((target) => [target.node, UNKNOWN_NODE])),
    settled: NOTHING_SETTLED,
  };
}

/**
 * A new term discards the marks, not what followers show: nothing acknowledged is lost by an election, so a follower
 * that showed all commits before a moment still does, as long as its server runs on (`recordLoss` when it does not:
 * it takes a restart to be rewound or cloned). So reads go on while a leader is being elected. Once the new leader has
 * answered, only followers on its timeline serve.
 */
export function retarget(state: FreshnessState, targets: MonitorTargets): FreshnessState {
  const before = new Map(state.targets.nodes.map((target) => [target.node, target]));
  const nodes = targets.nodes.map((target): [string, NodeState] => {
    const old = before.get(target.node);
    const same = old?.host === target.host && old.port === target.port;
    return [target.node, (same ? state.nodes.get(target.node) : undefined) ?? UNKNOWN_NODE];
  });
  const sameTerm = state.targets.term === targets.term && state.targets.leader === targets.leader;
  const next = {
    ...state,
    targets,
    ...(sameTerm ? {} : { heard: false, marks: [], settled: underNewLeader(state.settled) }),
  };
  return { ...next, nodes: new Map(nodes.map(([name, node]) => [name, withKinship(next, name, node)])) };
}

/**
 * PostgreSQL's timelines do not tell whose content a follower holds: a leader that nobody followed may have made a timeline of the same
 * number as a later one that knew nothing of it. Terms do. Until the leader of a new term has answered, what was known holds:
 * its agent may have let go of the old leader already, and the data are what they were.
 */
function withKinship(state: FreshnessState, name: string, node: NodeState): NodeState {
  const { term, nodes } = state.targets;
  const follows = nodes.find((target) => target.node === name)?.follows ?? null;
  const kin = follows === term || (!state.heard && node.kin);
  return kin === node.kin ? node : { ...node, kin };
}

/** An answer of a node. Of a node that is no target, or asked before the targets changed, the caller drops it. */
export function recordSample(state: FreshnessState, node: string, sample: ProbeSample): FreshnessState {
  if (!state.nodes.has(node)) return state;
  if (node === state.targets.leader) return recordLeader(state, node, sample);
  const old = state.nodes.get(node);
  const timeline = sample.inRecovery ? (sample.timeline ?? old?.timeline ?? sample.restartTimeline) : null;
  const next = {
    sample,
    timeline,
    kin: old?.kin ?? false,
    freshAsOfMs: old?.freshAsOfMs ?? NEVER,
    runningSinceMs: runningSince(old, sample),
    failure: null,
    unreachableSinceMs: null,
  };
  const after = withNode(state, node, freshened(withKinship(state, node, next), state));
  const { shown } = sample;
  if (shown === null) return after;
  // By the sample before this one: the statement's own position may be a little later than what it says of transactions.
  const freshAsOfMs = problemOf(after, next) === null ? next.freshAsOfMs : NEVER;
  return { ...after, settled: afterFollower(state.settled, node, shown, freshAsOfMs) };
}

/** It does not answer in time, but its connection is not known to be lost: what it has replayed it still shows. */
export function recordSilence(state: FreshnessState, node: string, failure: string): FreshnessState {
  const old = state.nodes.get(node);
  return old === undefined ? state : withNode(state, node, { ...old, failure });
}

/** Its connection is lost: it may come back from a crash, a rewind or a clone, showing less than it did. */
export function recordLoss(
  state: FreshnessState,
  node: string,
  failure: string,
  unreachableAtMs: number | null,
): FreshnessState {
  const old = state.nodes.get(node);
  if (old === undefined) return state;
  const unreachableSinceMs = unreachableAtMs === null ? null : (old.unreachableSinceMs ?? unreachableAtMs);
  const lost = withNode(state, node, { ...UNKNOWN_NODE, failure, unreachableSinceMs });
  return { ...lost, settled: withoutPending(state.settled, node) };
}

/** Whether a follower that lives has yet to replay the newest mark: worth asking it again soon. */
export function lagsBehind(state: FreshnessState, node: string, lsn: Lsn): boolean {
  const sample = state.nodes.get(node)?.sample ?? null;
  return node !== state.targets.leader && sample !== null && sample.replayedLsn < lsn;
}

export function snapshotOf(state: FreshnessState, takenAtMs: number): FreshnessSnapshot {
  const { term, leader } = state.targets;
  const nodes = state.targets.nodes.map((target): [string, NodeFreshness] => {
    const node = state.nodes.get(target.node) ?? UNKNOWN_NODE;
    return [target.node, { ...target, ...describe(state, target.node, node, term) }];
  });
  const { leaderHeardAtMs, marks, settled } = state;
  return {
    term,
    leader,
    takenAtMs,
    leaderHeardAtMs,
    nodes: new Map(nodes),
    marks,
    settledAsOfMs: settled.everywhereMs,
  };
}

/**
 * The moment as of which a follower is fresh once it has replayed `lsn` of the present term, or a little more; null: its leader has
 * not been seen to be there. It is that of the oldest mark at or behind the position.
 */
export function momentOf(marks: readonly Mark[], lsn: Lsn): number | null {
  return marks.find((mark) => mark.lsn >= lsn)?.sentAtMs ?? null;
}

const NEVER = Number.NEGATIVE_INFINITY;
const UNKNOWN_NODE: NodeState = {
  sample: null,
  timeline: null,
  kin: false,
  freshAsOfMs: NEVER,
  runningSinceMs: Number.POSITIVE_INFINITY,
  failure: null,
  unreachableSinceMs: null,
};

function runningSince(old: NodeState | undefined, sample: ProbeSample): number {
  return Math.min(old?.runningSinceMs ?? Number.POSITIVE_INFINITY, sample.sentAtMs);
}

function recordLeader(state: FreshnessState, node: string, sample: ProbeSample): FreshnessState {
  const known = withNode(state, node, {
    sample,
    timeline: sample.timeline,
    kin: true,
    freshAsOfMs: NEVER,
    runningSinceMs: runningSince(state.nodes.get(node), sample),
    failure: null,
    unreachableSinceMs: null,
  });
  if (sample.inRecovery || sample.timeline === null) return known;
  // Within a term neither changes, from term to term the timeline grows. Should anything else happen, nothing that was
  // known of the followers holds any more.
  const grown = !state.heard && (state.timeline === null || sample.timeline >= state.timeline);
  const sameSystem = state.systemId === null || state.systemId === sample.systemId;
  const holds = sameSystem && (grown || sample.timeline === state.timeline);
  const marks = addMark(holds ? state.marks : [], {
    sentAtMs: sample.sentAtMs,
    lsn: leaderPosition(sample.insertLsn, sample.walBlockSize, sample.walSegmentSize),
  });
  const { timeline, systemId, sentAtMs: leaderHeardAtMs } = sample;
  const next = { ...known, timeline, systemId, heard: true, leaderHeardAtMs, marks };
  const nodes = new Map(next.nodes);
  for (const [name, other] of next.nodes) {
    if (name === node) continue;
    const kept = holds ? other : { ...other, freshAsOfMs: NEVER };
    nodes.set(name, freshened(withKinship(next, name, kept), next));
  }
  const settled = sample.running === null ? state.settled : afterLeader(state.settled, sample.running);
  return { ...next, nodes, settled };
}

/** Any mark may be dropped: freshness is a lower bound. A later mark at the same position says more than the earlier. */
function addMark(marks: readonly Mark[], mark: Mark): readonly Mark[] {
  const last = marks.at(-1);
  if (last !== undefined && (mark.lsn < last.lsn || mark.sentAtMs <= last.sentAtMs)) return marks;
  const kept = last?.lsn === mark.lsn ? marks.slice(0, -1) : marks;
  if (kept.length < MAX_MARKS) return [...kept, mark];
  return [...kept.filter((_, index) => index % 2 === 1), mark];
}

/** The node with the freshness of the newest mark that it has reached, if that is later than what it had. */
function freshened(node: NodeState, state: FreshnessState): NodeState {
  const sample = node.sample;
  if (sample === null || problemOf(state, node) !== null) return node;
  const mark = state.marks.findLast((one) => one.lsn <= sample.replayedLsn);
  return mark === undefined || mark.sentAtMs <= node.freshAsOfMs ? node : { ...node, freshAsOfMs: mark.sentAtMs };
}

/** Why a follower may not serve reads, silence aside. */
function problemOf(state: FreshnessState, node: NodeState): string | null {
  const sample = node.sample;
  if (sample === null) return node.failure ?? 'has not answered yet';
  if (!sample.inRecovery)
    return `is not in recovery, though ${state.targets.leader ?? 'nobody'} leads term ${state.targets.term}`;
  if (state.timeline === null) return 'no leader has been heard yet';
  if (sample.systemId !== state.systemId) return `belongs to another cluster (system identifier ${sample.systemId})`;
  if (node.timeline === null) return 'its timeline is not known while it takes no WAL';
  if (!node.kin) return `does not follow the leader of term ${state.targets.term}, as far as its agent has said`;
  if (node.timeline !== state.timeline) return `is on timeline ${node.timeline}, the leader on ${state.timeline}`;
  return null;
}

type Description = Omit<NodeFreshness, 'node' | 'host' | 'port'>;

function describe(state: FreshnessState, name: string, node: NodeState, term: Term): Description {
  const { sample } = node;
  const isLeader = name === state.targets.leader;
  const leads = isLeader && sample !== null && !sample.inRecovery;
  const leaderProblem = sample === null ? 'has not answered yet' : `is still in recovery in term ${term}`;
  const problem = node.failure ?? (isLeader ? (leads ? null : leaderProblem) : problemOf(state, node));
  const replayedLsn = leads ? sample.insertLsn : (sample?.replayedLsn ?? NO_LSN);
  const newest = state.marks.at(-1);
  const settled = state.settled.nodes.get(name);
  const lag = newest === undefined || sample === null ? null : newest.lsn - replayedLsn;
  return {
    role: leads ? 'leader' : !isLeader && sample?.inRecovery === true ? 'follower' : 'unknown',
    freshAsOfMs: leads ? Number.POSITIVE_INFINITY : node.freshAsOfMs,
    runningSinceMs: node.runningSinceMs,
    unreachableSinceMs: node.unreachableSinceMs,
    settledAsOfMs: settled?.asOfMs ?? NEVER,
    unsettled: settled?.pending.at(-1)?.committed.length ?? 0,
    usable: problem === null,
    streaming: sample?.streaming ?? false,
    timeline: (leads ? state.timeline : node.timeline) ?? 0,
    flushedLsn: sample?.flushedLsn ?? NO_LSN,
    replayedLsn,
    lagBytes: leads ? 0n : lag === null ? null : lag < 0n ? 0n : lag,
    problem,
    probeMs: sample === null ? null : sample.answeredAtMs - sample.sentAtMs,
  };
}

function withNode(state: FreshnessState, name: string, node: NodeState): FreshnessState {
  return { ...state, nodes: new Map(state.nodes).set(name, node) };
}
