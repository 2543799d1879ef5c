import type { FreshnessSnapshot } from '../../replication-monitor/types.ts';

/**
 * When the session's last read on a follower had ended, and on which; -Infinity when the leader is known to show what was read. Null: more
 * than one follower's word is needed.
 */
export interface ShownFloor {
  readonly shownAtMs: number;
  readonly shownBy: string | null;
}

/** Whether the leader shows what the session has read on followers (replication-monitor/settled.ts). A follower that was promoted does. */
export function isSettled(snapshot: FreshnessSnapshot, floor: ShownFloor): boolean {
  const { shownAtMs, shownBy } = floor;
  if (shownAtMs === Number.NEGATIVE_INFINITY || shownAtMs <= snapshot.settledAsOfMs) return true;
  if (shownBy === null) return false;
  if (shownBy === snapshot.leader) return true;
  const node = snapshot.nodes.get(shownBy);
  return node !== undefined && node.runningSinceMs <= shownAtMs && node.settledAsOfMs >= shownAtMs;
}

/**
 * Whether anybody who could tell was asked since the wait began: the leader, and a follower that still waits for it. Else the session's
 * follower is lost, and nobody has caught up with it.
 */
export function isBeingSettled(snapshot: FreshnessSnapshot, sinceMs: number): boolean {
  if (snapshot.leaderHeardAtMs < sinceMs) return true; // without a leader there is nothing to go on with
  for (const { unsettled } of snapshot.nodes.values()) if (unsettled > 0) return true;
  return false;
}
