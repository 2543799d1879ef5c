/**
 * The arithmetic of S3 and S4, over sets of follower names.
 *
 * `recorded` is the durability record R, `applied` what PostgreSQL was told, P. A candidate that is not the
 * record's leader needs pledges from |S_R| − k_R + 1 of S_R; a commit is acknowledged by k_P of S_P. Every such
 * pledge set meets every such acknowledging set exactly when each acknowledging set has k_R members in S_R:
 * k_P − |S_P \ S_R| ≥ k_R (`keeps`). With k_R = 0 nobody but the leader is eligible, and any P is enough.
 */
export interface SyncSet {
  /** Sorted, the leader never among them. */
  readonly members: readonly string[];
  readonly k: number;
}

export const ALONE: SyncSet = { members: [], k: 0 };

/** Pledges of members that a candidate needs, itself included; null: only the record's leader is eligible. */
export function pledgesNeeded(sync: SyncSet): number | null {
  if (sync.k === 0) return null;
  return Math.max(1, sync.members.length - sync.k + 1);
}

/** Whether every commit that `applied` acknowledges is found by every election under `recorded` (S4). */
export function keeps(applied: SyncSet, recorded: SyncSet): boolean {
  if (recorded.k === 0) return true;
  const outside = applied.members.filter((m) => !recorded.members.includes(m)).length;
  return applied.k - outside >= recorded.k;
}

export function sameSet(a: SyncSet, b: SyncSet): boolean {
  return a.k === b.k && a.members.length === b.members.length && a.members.every((m) => b.members.includes(m));
}

/**
 * The next step from the record towards `target`, or null when it is reached.
 * `record-first` lowers what the record promises: it is recorded, then PostgreSQL is told.
 * `apply-first` raises it: PostgreSQL is told, then k members must have flushed everything acknowledged before
 * (the barrier), then it is recorded.
 */
export function planSyncChange(
  recorded: SyncSet,
  target: SyncSet,
): { readonly order: 'record-first' | 'apply-first'; readonly next: SyncSet } | null {
  if (sameSet(recorded, target)) return null;
  if (target.k === 0) return { order: 'record-first', next: ALONE };
  if (recorded.k === 0) return { order: 'apply-first', next: target };
  if (target.k < recorded.k) return { order: 'record-first', next: { members: recorded.members, k: target.k } };
  const union = sorted([...new Set([...recorded.members, ...target.members])]);
  if (union.length > recorded.members.length) {
    return { order: 'record-first', next: { members: union, k: recorded.k } };
  }
  return { order: 'apply-first', next: { members: sorted(target.members), k: target.k } };
}

export interface StandbyFact {
  readonly node: string;
  readonly streaming: boolean;
  readonly missingForMs: number;
}

/**
 * What the leader wants: every follower that streams, and those of the present set that have not been away for
 * `patienceMs`. Fewer than `syncAcks` of them: go on with fewer, or (hold) keep the set as it is and wait.
 */
export function wantedSync(
  present: SyncSet,
  standbys: readonly StandbyFact[],
  options: { readonly syncAcks: number; readonly withoutFollower: 'go-on' | 'hold'; readonly patienceMs: number },
): SyncSet {
  const kept = standbys
    .filter((s) => s.streaming || (present.members.includes(s.node) && s.missingForMs < options.patienceMs))
    .map((s) => s.node);
  if (kept.length >= options.syncAcks) return { members: sorted(kept), k: options.syncAcks };
  if (options.withoutFollower === 'go-on') return { members: sorted(kept), k: kept.length };
  return present.k === 0 && kept.length > 0 ? { members: sorted(kept), k: kept.length } : present;
}

/** Whether k of the set's members have flushed `lsn`. */
export function barrierReached(
  target: SyncSet,
  flushed: readonly { readonly node: string; readonly flushedLsn: bigint }[],
  lsn: bigint,
): boolean {
  return flushed.filter((f) => target.members.includes(f.node) && f.flushedLsn >= lsn).length >= target.k;
}

export function sorted(names: readonly string[]): string[] {
  return [...names].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/**
 * Followers and k of the new term's durability record, valid before anything is acknowledged in it. Whatever was
 * acknowledged is on the old leader and on k of its members. Those of them that are not the new leader, at least k,
 * are in (members + old leader − new leader): k of that set hold it, so any |set| − k + 1 of the set have a member
 * that does. `k` = 0: only the new leader holds everything for certain.
 */
export function inheritedSync(old: (SyncSet & { readonly leader: string }) | undefined, node: string): SyncSet {
  if (old === undefined || old.k === 0) return ALONE;
  const members = sorted([...new Set([...old.members, old.leader])].filter((m) => m !== node));
  return { members, k: old.k };
}
