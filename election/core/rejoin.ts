import type { Term } from '../../common/lsn.ts';
import type { PostgresSample } from '../postgres/port.ts';
import type { MemberRecord } from '../store/records.ts';
import { comparePositions } from './candidate.ts';
import type { ClusterView } from './cluster-view.ts';
import { isAncestor, timelineOfTerm } from './lineage.ts';

export type Relation = 'follow' | 'rewind' | 'clone';

/**
 * How a node comes to follow `leader` (S8). Its data ends with content of term `lineage` at the sample's position;
 * `leader` leads `leader.term`, is announced, and tells its forks. Timelines are compared by number only where the
 * terms say that they are the same ones: PostgreSQL and pg_rewind know nothing but the number.
 */
export function relation(
  view: ClusterView,
  node: string,
  own: Pick<PostgresSample, 'timeline' | 'flushedLsn'>,
  lineage: Term,
  leader: MemberRecord,
): Relation {
  if (!isAncestor(view.history, lineage, leader.term)) return 'clone';
  // Not on its term's own timeline: interrupted on the way to another leader, or promoted and never announced.
  if (timelineOfTerm(view.history, lineage) !== own.timeline) return 'clone';
  if (lineage === leader.term) return 'follow';
  const fork = leader.forks?.find((f) => f.timeline === own.timeline);
  if (fork === undefined) return 'clone';
  if (own.flushedLsn <= fork.endLsn) return 'follow';
  return pledgedBehind(view, node, { lineage, flushedLsn: own.flushedLsn }, leader) ? 'follow' : 'rewind';
}

/**
 * A leader that dies leaves half a record at the end of what followers received, so their flushed position may be
 * past the fork although no record of theirs is: where our pledge for this very term is no further than the new
 * leader's own, all our bytes are among its bytes.
 */
function pledgedBehind(
  view: ClusterView,
  node: string,
  own: Parameters<typeof comparePositions>[0],
  leader: MemberRecord,
): boolean {
  const mine = view.pledges.get(node)?.record;
  const theirs = view.pledges.get(leader.node)?.record;
  if (mine === undefined || theirs === undefined) return false;
  if (mine.term !== leader.term || theirs.term !== leader.term) return false;
  return mine.lineage === theirs.lineage && comparePositions(mine, theirs) <= 0 && comparePositions(own, mine) === 0;
}
