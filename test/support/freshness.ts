import { NO_LSN, NO_TERM } from '../../common/lsn.ts';
import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';

/** A follower that serves, as the monitor shows it. */
export function exampleFollower(node: string, changes: Partial<NodeFreshness> = {}): NodeFreshness {
  return {
    node,
    host: '127.0.0.1',
    port: 5432,
    role: 'follower',
    freshAsOfMs: 0,
    runningSinceMs: 0,
    unreachableSinceMs: null,
    settledAsOfMs: 0,
    unsettled: 0,
    usable: true,
    streaming: true,
    timeline: 1,
    flushedLsn: NO_LSN,
    replayedLsn: NO_LSN,
    lagBytes: 0n,
    problem: null,
    probeMs: 1,
    ...changes,
  };
}

/** With a leader besides. */
export function exampleSnapshot(nodes: readonly NodeFreshness[]): FreshnessSnapshot {
  const leader = exampleFollower('leader', { freshAsOfMs: Infinity, role: 'leader', usable: false });
  return {
    term: NO_TERM,
    leader: 'leader',
    takenAtMs: 2000,
    leaderHeardAtMs: 2000,
    settledAsOfMs: 0,
    marks: [],
    nodes: new Map([leader, ...nodes].map((each) => [each.node, each])),
  };
}
