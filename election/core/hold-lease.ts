import * as records from '../store/records.ts';
import { beginDemotion } from './demote.ts';
import { FENCE_BEFORE_MS, leaseDeadline, RENEW_EVERY_MS, RENEW_TIMEOUT_MS } from './lease-deadline.ts';
import type { AgentState, Lead } from './state.ts';
import type { Answer, Turn } from './turn.ts';
import { leaderValue } from './writes.ts';

/**
 * What every mode that holds the lease does first: fences in time, notices a lost key, renews. False: it leads no
 * more, and the mode has been changed.
 */
export function holdLease(turn: Turn): boolean {
  const { mode, view, config, ownRevision } = turn.state;
  if (!('lead' in mode)) return false;
  const { lead } = mode;
  if (turn.now >= leaseDeadline(config, lead) - FENCE_BEFORE_MS) {
    leadLost(turn, 'the lease could not be renewed in time');
    return false;
  }
  // A watch is often quicker than an answer: while it hands over, its own key vanishes.
  const leaving = mode.kind === 'DRAINING' && mode.phase === 'handover';
  if (!leaving && view !== null && view.revision >= ownRevision && view.leaderCreateRevision !== lead.createRevision) {
    leadLost(turn, 'the leader key is gone or another’s');
    return false;
  }
  if (serverIsDead(turn.state, lead)) {
    beginDemotion(turn, 'PostgreSQL does not answer', 'immediate');
    return false;
  }
  renew(turn, lead);
  return true;
}

/**
 * A leader that cannot ask its own PostgreSQL for a whole TTL is no use to anybody. In a pause that is the operator's to judge:
 * the lease is held, so nobody else acknowledges anything.
 */
function serverIsDead(state: AgentState, lead: Lead): boolean {
  const { mode, view } = state;
  if (view !== null && view.pause !== null) return false;
  const answers = mode.kind === 'LEADER_HELD' || mode.kind === 'LEADER_OPEN';
  return answers && state.nowMs - lead.aliveAtMs > state.config.ttlMs;
}

function renew(turn: Turn, lead: Lead): void {
  if (turn.now < lead.renewAtMs || !turn.idle('lease', 'guard')) return;
  turn.setLead({ renewAtMs: turn.now + RENEW_EVERY_MS });
  turn.start('lease', 'keep', RENEW_TIMEOUT_MS, { type: 'keep-alive', lease: lead.lease });
  const value = leaderValue(turn.state.config, lead.term);
  turn.guarded(
    'guard',
    'guard',
    lead,
    [{ type: 'put', key: turn.keys.leader, value, lease: lead.lease }],
    RENEW_TIMEOUT_MS,
  );
}

/** Answers to the renewal. True: dealt with. */
export function renewalAnswered(turn: Turn, answer: Answer): boolean {
  const { outcome } = answer;
  const { mode, config } = turn.state;
  if ((answer.lane !== 'lease' && answer.lane !== 'guard') || !('lead' in mode)) return false;
  const before = leaseDeadline(config, mode.lead);
  if (outcome === null) {
    turn.setLead({ renewAtMs: Math.min(mode.lead.renewAtMs, turn.now + 50) });
    return true;
  }
  if (mode.kind === 'DEMOTING') return true;
  if (outcome.type === 'kept') {
    if (outcome.ttlMs <= 0) leadLost(turn, 'the lease has expired');
    else turn.setLead({ keptAtMs: Math.max(mode.lead.keptAtMs, outcome.sentAtMs) });
  } else if (outcome.type === 'transaction') {
    if (!outcome.succeeded) leadLost(turn, 'the leader key is no longer ours');
    else turn.setLead({ guardedAtMs: Math.max(mode.lead.guardedAtMs, outcome.sentAtMs) });
  }
  const after = turn.state.mode;
  if ('lead' in after && after.kind !== 'DEMOTING') {
    const deadlineMs = leaseDeadline(config, after.lead);
    if (deadlineMs > before) turn.effects.push({ type: 'feed-watchdog', deadlineMs });
  }
  return true;
}

export function leadLost(turn: Turn, why: string): void {
  const { mode } = turn.state;
  if (!('lead' in mode)) return;
  turn.log('warn', 'lease.lost', `leads term ${mode.lead.term} no more: ${why}`, { term: Number(mode.lead.term) });
  beginDemotion(turn, why, 'immediate');
}

const WRITES: Readonly<Record<string, readonly ('routeRevision' | 'syncRevision')[]>> = {
  announce: ['routeRevision'],
  'announce-bootstrap': ['routeRevision', 'syncRevision'],
  record: ['syncRevision'],
  route: ['routeRevision'],
  hold: ['routeRevision'],
  abort: ['routeRevision'],
  refuse: ['routeRevision'],
};

/** The answer to a decision. True: it was refused, and that has been dealt with; what was to be done is done anew. */
export function decisionRefused(turn: Turn, answer: Answer): boolean {
  const { mode, config } = turn.state;
  const writes = WRITES[answer.what];
  const { outcome } = answer;
  if (answer.lane !== 'decide' || writes === undefined || outcome?.type !== 'transaction' || !('lead' in mode))
    return false;
  if (outcome.succeeded) {
    const revisions = Object.fromEntries(writes.map((w) => [w, outcome.revision]));
    turn.set({ ownRevision: outcome.revision });
    turn.setLead({ ...revisions, guardedAtMs: Math.max(mode.lead.guardedAtMs, outcome.sentAtMs) });
    return false;
  }
  const [leader, sync, route] = outcome.gets;
  if (leader === null || leader === undefined || leader.createRevision !== mode.lead.createRevision) {
    leadLost(turn, 'the leader key is no longer ours');
    return true;
  }
  const ruled = sync ? records.decodeRecord(records.syncRecord, sync.value) : null;
  const routed = route ? records.decodeRecord(records.routeRecord, route.value) : null;
  // An earlier request of ours was carried out after all. Anybody else's hand in these keys is an administrator's.
  const foreign = ruled !== null && (ruled.term !== mode.lead.term || ruled.leader !== config.node);
  if (foreign || (ruled === null && sync !== null)) {
    leadLost(turn, 'somebody else has written the durability record');
    return true;
  }
  turn.setLead({
    syncRevision: sync?.modRevision ?? 0,
    routeRevision: route?.modRevision ?? 0,
    routeSeq: Math.max(mode.lead.routeSeq, routed?.seq ?? 0),
    ...(ruled === null ? {} : { recorded: { members: ruled.members, k: ruled.k }, recording: null }),
  });
  return true;
}
