import type { Term } from '../../common/lsn.ts';
import type { MemberRecord } from '../store/records.ts';
import { comparePositions } from './candidate.ts';
import type { ClusterView } from './cluster-view.ts';
import type { Position } from './types.ts';

export type Relation = 'follow' | 'rewind' | 'clone';

/**
 * How a node whose data ends at `own` comes to follow `leader` (S8). `lineageTerm` is the term whose WAL the data
 * last agreed to take; what that term's leader wrote may be on our disk and nowhere else.
 */
export function relation(
  view: ClusterView,
  node: string,
  own: Position,
  lineageTerm: Term,
  leader: MemberRecord,
): Relation {
  // A later term that began at or below our timeline number was begun from a copy that did not know our timeline.
  const collides = view.history.some(
    (h) => h.term > lineageTerm && h.term <= leader.term && h.timeline <= own.timeline,
  );
  if (collides) return 'clone';
  if (own.timeline === leader.timeline) return 'follow';
  if (own.timeline > leader.timeline) return 'rewind';
  const fork = leader.forks?.find((f) => f.timeline === own.timeline);
  if (fork === undefined) return 'clone';
  if (own.flushedLsn <= fork.endLsn) return 'follow';
  return pledgedBehind(view, node, own, leader) ? 'follow' : 'rewind';
}

/**
 * A leader that dies leaves half a record at the end of what followers received, so their flushed position may be
 * past the fork although no record of theirs is: where our pledge for this very term is no further than the new
 * leader's own, all our bytes are among its bytes.
 */
function pledgedBehind(view: ClusterView, node: string, own: Position, leader: MemberRecord): boolean {
  const mine = view.pledges.get(node)?.record;
  const theirs = view.pledges.get(leader.node)?.record;
  if (mine === undefined || theirs === undefined) return false;
  if (mine.term !== leader.term || theirs.term !== leader.term) return false;
  return mine.timeline === theirs.timeline && comparePositions(mine, theirs) <= 0 && comparePositions(own, mine) === 0;
}
