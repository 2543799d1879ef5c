import type { FreshnessSnapshot, NodeFreshness } from '../../replication-monitor/types.ts';
import type { FollowerRequest } from './choose-node.ts';

/** Why `chooseFollower` passes a follower over, in words; null: it may serve. The same rules, told one by one. */
export function whyNot(
  node: NodeFreshness,
  snapshot: FreshnessSnapshot,
  request: Pick<FollowerRequest, 'level' | 'floor' | 'databaseFloorMs' | 'maxStalenessMs' | 'exclude'>,
): string | null {
  const { level, floor, databaseFloorMs, maxStalenessMs } = request;
  const { freshAsOfMs } = node;
  if (level === 'strong') return 'consistency strong is the leader’s';
  if (!node.usable) return node.problem ?? 'not usable';
  if (node.role !== 'follower') return `its role is ${node.role}`;
  if (request.exclude.has(node.node)) return 'it was tried already';
  if (freshAsOfMs === Number.NEGATIVE_INFINITY && maxStalenessMs !== Number.POSITIVE_INFINITY) {
    return 'it is not known yet how fresh it is';
  }
  const behindMs = snapshot.leaderHeardAtMs - freshAsOfMs;
  if (maxStalenessMs !== Number.POSITIVE_INFINITY && !(behindMs <= maxStalenessMs)) {
    return `it is ${ms(behindMs)} behind the leader’s last word, and max_staleness is ${ms(maxStalenessMs)}`;
  }
  if (level === 'eventual') return null;
  if (!(freshAsOfMs >= floor.committedAtMs)) {
    return `it is not known to show this session’s last commit (${ms(floor.committedAtMs - freshAsOfMs)} newer)`;
  }
  const isSame = node.node === floor.lastNode && node.runningSinceMs <= floor.lastReadAtMs;
  if (!isSame && !(freshAsOfMs >= floor.lastReadAtMs)) {
    return `it is not known to show what this session has read${from(floor.lastNode)} (${ms(floor.lastReadAtMs - freshAsOfMs)} newer)`;
  }
  if (level === 'database' && !(freshAsOfMs >= databaseFloorMs)) {
    return `it is not known to show the last commit to this database (${ms(databaseFloorMs - freshAsOfMs)} newer)`;
  }
  return null;
}

function from(node: string | null): string {
  return node === null ? '' : ` from ${node}`;
}

function ms(value: number): string {
  return Number.isFinite(value) ? `${Math.max(0, Math.round(value))} ms` : 'for all that is known';
}
