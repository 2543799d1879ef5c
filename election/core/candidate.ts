import type { Term } from '../../common/lsn.ts';
import type { PledgeRecord } from '../store/records.ts';
import type { ClusterView, Stored } from './cluster-view.ts';
import { pledgesNeeded } from './sync-quorum.ts';
import type { Position } from './types.ts';

/**
 * The later term first, then the position. Never by timeline: a leader that nobody followed makes timeline 3, a later
 * one that knows nothing of it makes timeline 2 and is followed; what the later one's quorum holds must win.
 */
export function comparePositions(a: Position, b: Position): number {
  if (a.lineage !== b.lineage) return a.lineage < b.lineage ? -1 : 1;
  return a.flushedLsn < b.flushedLsn ? -1 : a.flushedLsn > b.flushedLsn ? 1 : 0;
}

export type Candidacy =
  /** Not with what is known now; `why` is for people. */
  | { readonly kind: 'no'; readonly why: string }
  /**
   * It may acquire, with these pledges (none: it holds everything acknowledged by record). `best`: nobody who might
   * has a better claim, so it need not wait. `byRecord`: it was the leader itself, or was handed over to.
   */
  | {
      readonly kind: 'eligible';
      readonly best: boolean;
      readonly byRecord: 'leader' | 'handover' | null;
      readonly used: readonly { readonly node: string; readonly modRevision: number }[];
    };

/**
 * The rule of S3, for a node that has pledged for the term after the view's. `view.sync` must exist.
 * `noFailover` nodes pledge, and run only for what nobody else can hold.
 */
export function candidacy(
  view: ClusterView,
  self: { readonly node: string; readonly priority: number; readonly noFailover: boolean },
): Candidacy {
  const sync = view.sync?.record;
  if (sync === undefined) return { kind: 'no', why: 'the cluster has no durability record yet' };
  const newTerm = (view.term.value + 1n) as Term;
  if (sync.handover === self.node) return { kind: 'eligible', best: true, byRecord: 'handover', used: [] };
  if (sync.leader === self.node) return { kind: 'eligible', best: false, byRecord: 'leader', used: [] };
  if (self.noFailover) return { kind: 'no', why: 'this node is not to be promoted (noFailover)' };
  const needed = pledgesNeeded(sync);
  if (needed === null) return { kind: 'no', why: `only ${sync.leader} holds everything that was acknowledged` };
  if (!sync.members.includes(self.node)) {
    return { kind: 'no', why: `not a synchronous follower of term ${sync.term}: ${sync.members.join(', ')} are` };
  }
  const pledges = sync.members
    .map((node) => view.pledges.get(node))
    .filter((p): p is Stored<PledgeRecord> => p !== undefined && p.record.term >= newTerm);
  const own = pledges.find((p) => p.record.node === self.node);
  if (own === undefined) return { kind: 'no', why: 'its pledge is not published yet' };
  const usable = pledges.filter((p) => comparePositions(p.record, own.record) <= 0);
  if (usable.length < needed) {
    const ahead = pledges.filter((p) => !usable.includes(p)).map((p) => p.record.node);
    const missing = sync.members.filter((m) => !pledges.some((p) => p.record.node === m));
    return { kind: 'no', why: whyNot(usable.length, needed, ahead, missing, sync.leader) };
  }
  const others = usable.filter((p) => p !== own).slice(0, needed - 1);
  const used = [own, ...others].map((p) => ({ node: p.record.node, modRevision: p.modRevision }));
  return { kind: 'eligible', best: isBest(view, self, own, pledges), byRecord: null, used };
}

function isBest(
  view: ClusterView,
  self: { readonly node: string; readonly priority: number },
  own: Stored<PledgeRecord>,
  pledges: readonly Stored<PledgeRecord>[],
): boolean {
  return pledges.every((p) => {
    if (p === own) return true;
    const member = view.members.get(p.record.node);
    if (member === undefined || member.noFailover) return true;
    const order = comparePositions(p.record, own.record);
    if (order !== 0) return order < 0;
    if (member.priority !== self.priority) return member.priority < self.priority;
    return p.record.node > self.node;
  });
}

function whyNot(
  have: number,
  needed: number,
  ahead: readonly string[],
  missing: readonly string[],
  leader: string,
): string {
  const parts = [`has ${have} of ${needed} pledges`];
  if (ahead.length > 0) parts.push(`${ahead.join(', ')} holds more`);
  if (missing.length > 0) parts.push(`waiting for ${missing.join(', ')} (or ${leader})`);
  return parts.join('; ');
}
