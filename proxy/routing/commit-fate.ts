import type { Term } from '../../common/lsn.ts';
import type { HistoryRecord } from '../../election/store/records.ts';

/** A COMMIT that was sent to the leader of `term`, in a transaction with the id `xid`, and not answered. */
export interface InDoubt {
  readonly term: Term;
  /** The full 64-bit id (pg_current_xact_id). */
  readonly xid: bigint;
}

/**
 * `never-arrived`: it did not commit. `ask`: pg_xact_status of the current leader tells the truth. `same-term`: so it
 * does where it says `aborted`; `committed` may be a commit that no follower has. `unknown`: nobody can be asked.
 */
export type CommitFate = 'never-arrived' | 'ask' | 'same-term' | 'unknown';

/**
 * Whether the id still means the same transaction on the leader of `current`, whose route is open (S7; ELECTION.md, "Pitfalls":
 * the id of a transaction that was lost is given out again). The leader's copy goes back to `term` by way of the parents.
 * Each term on this way gave out ids from its `nextXid` on, so below all of them nobody has used the id again; an id at or
 * above the first of them was not in the copy, nor therefore its commit. Terms beside this way left nothing in the copy.
 */
export function commitFate(
  inDoubt: InDoubt,
  current: Term,
  history: ReadonlyMap<Term, Pick<HistoryRecord, 'parent' | 'nextXid'>>,
): CommitFate {
  if (current === inDoubt.term) return 'same-term';
  let arrived = true;
  for (let at = current; at !== inDoubt.term; ) {
    const record = history.get(at);
    if (record === undefined || record.nextXid === null || !/^\d+$/.test(record.nextXid)) return 'unknown';
    if (inDoubt.xid >= BigInt(record.nextXid)) arrived = false;
    const { parent } = record;
    if (parent === undefined || parent >= at || parent < inDoubt.term) return 'unknown';
    at = parent;
  }
  return arrived ? 'ask' : 'never-arrived';
}
