import { NO_TERM, type Term } from '../../common/lsn.ts';
import type { HistoryRecord } from '../store/records.ts';
import type { LocalState } from './types.ts';

/**
 * Which term's content a copy ends with. PostgreSQL's timelines do not tell: a leader that nobody heard of may have
 * made a timeline of the same number, or of a greater one. Every term has a parent, the term whose content its
 * leader's copy ended with when it was elected, so terms form a tree, and a copy is a path from its root.
 */
export type History = readonly HistoryRecord[];

/**
 * The claim of a copy whose WAL ends on `timeline`. It claims the term that it agreed to follow (or led) only once
 * it stands on the timeline that this term's leader announced: then it holds everything up to the fork. Before, it
 * claims what it claimed when it agreed. A claim may be too low for what was never acknowledged here, never too high.
 * A later timeline than the announced one is possible: a leader that is elected again is still the source that an
 * agent without a view of it has set; the content agreed to lies below it.
 */
export function lineageOf(history: History, local: LocalState, timeline: number): Term {
  const followed = find(history, local.lineageTerm);
  return followed?.promoted === true && timeline >= followed.timeline ? local.lineageTerm : local.baseTerm;
}

/** Whether `ancestor` is on the path from the root to `term`. */
export function isAncestor(history: History, ancestor: Term, term: Term): boolean {
  for (let at = term; at >= ancestor && at > NO_TERM; ) {
    if (at === ancestor) return true;
    const parent = find(history, at)?.parent;
    if (parent === undefined || parent >= at) return false;
    at = parent;
  }
  return false;
}

/**
 * The latest forced term, up to the leader's, that may have given up what a copy with this claim holds beyond its fork: such
 * a term began without proof that it held everything. Null: all that was acknowledged in the copy is the leader's too.
 */
export function givenUpBy(history: History, claim: Term, leader: Term): Term | null {
  const forced = history.filter((h) => h.reason === 'forced' && h.term > claim && h.term <= leader);
  return forced.at(-1)?.term ?? null;
}

/** The timeline that a term's leader announced; null where it never did. */
export function timelineOfTerm(history: History, term: Term): number | null {
  const record = find(history, term);
  return record?.promoted === true ? record.timeline : null;
}

function find(history: History, term: Term): HistoryRecord | undefined {
  return history.findLast((h) => h.term === term);
}
