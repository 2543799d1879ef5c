import { formatLsn, type Lsn, type Term } from '../../common/lsn.ts';
import type { MemberRecord, PledgeRecord } from '../store/records.ts';
import { candidacy, comparePositions } from './candidate.ts';
import type { ClusterView } from './cluster-view.ts';
import { timelineOfTerm } from './lineage.ts';
import { pledgesNeeded } from './sync-quorum.ts';

/**
 * A promotion that an operator consents to although it may lose what was acknowledged: of a node that they name, where
 * nobody holds everything for certain. The other nodes that are there must have told what they hold, and hold no more.
 */
export type ForcedCandidacy =
  | { readonly kind: 'no'; readonly why: string }
  | { readonly kind: 'possible'; readonly used: readonly { readonly node: string; readonly modRevision: number }[] };

/** What a node knows of a leader that is gone: where it said it stood. */
export interface LeaderSeen {
  readonly node: string;
  readonly term: Term;
  readonly flushedLsn: Lsn;
}

/** States in which a node has no copy that could be promoted: nobody waits for what it holds. */
const WITHOUT_COPY: ReadonlySet<string> = new Set<MemberRecord['state']>(['INIT', 'CLONING', 'REWINDING']);

export function forcedCandidacy(view: ClusterView, node: string): ForcedCandidacy {
  const sync = view.sync?.record;
  if (view.leaderCreateRevision !== 0) {
    const holder = view.leader?.record.node ?? 'somebody';
    return { kind: 'no', why: `${holder} holds the lease: nothing needs to be lost (switchover or failover moves it)` };
  }
  if (sync === undefined) return { kind: 'no', why: 'the cluster has no durability record yet' };
  const able = withoutLoss(view);
  if (able !== null) {
    const hint = view.pause === null ? '' : ': "leasehold resume" lets it, automatic failover is paused';
    return { kind: 'no', why: `${able} can be promoted without any loss${hint}` };
  }
  for (const [name, member] of view.members) {
    if (pledged(view, name) !== null || WITHOUT_COPY.has(member.state)) continue;
    const doubt = `${name} (${member.state}) has not told yet what it holds`;
    return { kind: 'no', why: `${doubt}: wait for it, or stop its agent to do without its data` };
  }
  const own = pledged(view, node);
  if (own === null || !view.members.has(node)) {
    return { kind: 'no', why: `${node} is not ready: ${stateOf(view, node)}` };
  }
  for (const name of view.members.keys()) {
    const other = pledged(view, name);
    const doubt = other === null || other === own ? null : mayHoldMore(view, other, own);
    if (doubt !== null) return { kind: 'no', why: doubt };
  }
  const named = new Set([...view.members.keys(), ...sync.members, sync.leader]);
  const used = [...named].map((name) => ({ node: name, modRevision: view.pledges.get(name)?.modRevision ?? 0 }));
  return { kind: 'possible', used };
}

/** The node to name: the one that is there and holds the most. Null while nothing can, or need, be forced. */
export function bestForced(view: ClusterView): string | null {
  const possible = [...view.members.values()].filter(({ node }) => forcedCandidacy(view, node).kind === 'possible');
  const order = (a: MemberRecord, b: MemberRecord) =>
    Number(a.noFailover) - Number(b.noFailover) || b.priority - a.priority || (a.node < b.node ? -1 : 1);
  return possible.sort(order)[0]?.node ?? null;
}

/** What a forced promotion of `node` gives up, as far as anybody can say; for the history, and for whoever is asked. */
export function describeLoss(view: ClusterView, node: string, seen: LeaderSeen | null): string {
  const sync = view.sync?.record;
  const own = pledged(view, node);
  if (sync === undefined || own === null) return 'nothing is known of what is lost';
  const away = [...new Set([sync.leader, ...sync.members])].filter((name) => !view.members.has(name));
  const needed = pledgesNeeded(sync);
  const rule =
    needed === null
      ? `only ${sync.leader} was certain to hold everything`
      : `${needed} of ${sync.members.join(', ')} had to be there`;
  const parts = [`this copy ends at ${describe(own)}`, rule];
  if (away.length > 0) parts.push(`away: ${away.sort().join(', ')}`);
  parts.push(lastSeen(own, seen));
  for (const [name, { record }] of view.pledges) {
    if (view.members.has(name) || comparePositions(record, own) <= 0) continue;
    parts.push(`${name} had more when it was last heard of: ${describe(record)}`);
  }
  return parts.join('; ');
}

function lastSeen(own: PledgeRecord, seen: LeaderSeen | null): string {
  if (seen === null) return 'where the last leader stood is not known here';
  const where = `${seen.node} was last seen leading term ${seen.term} at ${formatLsn(seen.flushedLsn)}`;
  if (seen.term !== own.lineage) return `${where}: how much is lost is not known`;
  const bytes = seen.flushedLsn - own.flushedLsn;
  return bytes > 0n ? `${where}: at least ${bytes} bytes of WAL are given up` : `${where}: no loss is known of`;
}

/**
 * Why `own` may lack something that `other` has; null where it provably lacks nothing. A claim says the least that a copy
 * holds: one that stands on another timeline than its claim's has gone on by itself, and nobody knows with whom.
 */
function mayHoldMore(view: ClusterView, other: PledgeRecord, own: PledgeRecord): string | null {
  const order = comparePositions(other, own);
  const compared = isExplained(view, other) && (order > 0 || own.lineage > other.lineage || isExplained(view, own));
  if (compared && order <= 0) return null;
  const both = `${describe(other)} against ${describe(own)}`;
  if (!compared) {
    const doubt = `${other.node} may hold more than ${own.node}, the two cannot be compared (${both})`;
    return `${doubt}: stop the agent of the one to do without; its data is kept`;
  }
  return `${other.node} holds more than ${own.node} (${both}): name ${other.node}, or stop its agent to do without its data`;
}

function isExplained(view: ClusterView, pledge: PledgeRecord): boolean {
  return timelineOfTerm(view.history, pledge.lineage) === pledge.timeline;
}

/** Somebody who is there, has told what they hold, and needs no force. */
function withoutLoss(view: ClusterView): string | null {
  for (const [name, member] of view.members) {
    if (pledged(view, name) !== null && candidacy(view, member).kind === 'eligible') return name;
  }
  return null;
}

/** Its pledge for the term that comes. */
function pledged(view: ClusterView, node: string): PledgeRecord | null {
  const record = view.pledges.get(node)?.record;
  return record !== undefined && record.term > view.term.value ? record : null;
}

function stateOf(view: ClusterView, node: string): string {
  const member = view.members.get(node);
  return member === undefined ? 'its agent is not registered' : `it is ${member.state}`;
}

function describe(pledge: PledgeRecord | null): string {
  return pledge === null
    ? 'nothing'
    : `${formatLsn(pledge.flushedLsn)} of term ${pledge.lineage}, timeline ${pledge.timeline}`;
}
