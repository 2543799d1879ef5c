import * as records from '../store/records.ts';
import { beginDemotion } from './demote.ts';
import { routeOf } from './elect.ts';
import { FENCE_BEFORE_MS, leaseDeadline, RENEW_EVERY_MS, RENEW_TIMEOUT_MS } from './lease-deadline.ts';
import { manageSync, syncAnswered } from './manage-sync.ts';
import type { AgentState, Lead, ModeOf } from './state.ts';
import { beginSwitchover, switchoverAnswered } from './switchover.ts';
import type { Answer, Turn } from './turn.ts';

const ROW_TIMEOUT_MS = 60_000;

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
  if (view !== null && view.revision >= ownRevision && view.leaderCreateRevision !== lead.createRevision) {
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

/** A leader that cannot ask its own PostgreSQL for a whole TTL is no use to anybody. */
function serverIsDead(state: AgentState, lead: Lead): boolean {
  const { mode } = state;
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

export function leaderValue(config: AgentState['config'], term: Lead['term']): string {
  return records.encodeRecord(records.leaderRecord, {
    node: config.node,
    term,
    bootId: config.bootId,
    address: config.address,
  });
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

export function proceedHeld(turn: Turn): void {
  if (!holdLease(turn)) return;
  manageSync(turn);
  const { mode, config, server } = turn.state;
  if (mode.kind !== 'LEADER_HELD') return;
  if (turn.now < turn.state.retryAtMs) return;
  if (mode.phase === 'row') {
    if (turn.idle('row')) turn.start('row', 'row', ROW_TIMEOUT_MS, { type: 'pg-write-term-row', term: mode.lead.term });
    const { applied } = mode.lead;
    if (applied !== null && applied.k > 0)
      turn.note(`waits for ${applied.k} of ${applied.members.join(', ')} to confirm`);
    return;
  }
  if (mode.phase === 'open') {
    if (server.open) return turn.go({ ...mode, phase: 'route' });
    if (turn.idle('server', 'kill')) turn.start('server', 'open', 10_000, { type: 'pg-open', open: true });
    return;
  }
  const durable = config.withoutFollower === 'go-on' || mode.lead.recorded.k > 0;
  if (!durable) return turn.note('waits for a synchronous follower (withoutFollower: hold)');
  if (turn.idle('decide')) openRoute(turn, mode.lead);
}

export function openRoute(turn: Turn, lead: Lead): void {
  turn.guarded('decide', 'route', lead, [
    routeOf(turn, lead.term, { hold: false, seq: lead.routeSeq + 1, nextXid: lead.nextXid }),
  ]);
}

export function leaderDone(turn: Turn, mode: ModeOf<'LEADER_HELD'> | ModeOf<'LEADER_OPEN'>, answer: Answer): void {
  const { outcome } = answer;
  if (outcome?.type === 'transaction') {
    if (!outcome.succeeded) return leadLost(turn, 'the leader key is no longer ours');
    turn.set({ ownRevision: outcome.revision });
  }
  if (syncAnswered(turn, answer) || switchoverAnswered(turn, answer)) return;
  if (answer.what === 'row' && mode.kind === 'LEADER_HELD') {
    turn.note(null);
    turn.go({ ...mode, phase: 'open' });
  } else if (answer.what === 'open') turn.setServer({ open: true });
  else if (answer.what === 'checkpoint') turn.setLead({ rewindable: true });
  else if (answer.what === 'route') {
    turn.setLead({ routeSeq: mode.lead.routeSeq + 1 });
    const { lead } = turn.state.mode as typeof mode;
    turn.note(null);
    turn.set({ failures: 0 });
    turn.log('info', 'route.opened', `accepts writes, term ${lead.term}`, {
      term: Number(lead.term),
      seq: lead.routeSeq,
    });
    turn.go({ kind: 'LEADER_OPEN', lead, request: null });
  }
}

export function leaderFailed(turn: Turn, _mode: ModeOf<'LEADER_HELD'> | ModeOf<'LEADER_OPEN'>, answer: Answer): void {
  if (syncAnswered(turn, answer) || switchoverAnswered(turn, answer)) return;
  turn.backOff(answer);
}

export function proceedOpen(turn: Turn): void {
  if (!holdLease(turn)) return;
  manageSync(turn);
  const { mode, view } = turn.state;
  if (mode.kind !== 'LEADER_OPEN' || turn.now < turn.state.retryAtMs) return;
  if (!mode.lead.rewindable && turn.idle('checkpoint')) {
    turn.start('checkpoint', 'checkpoint', 600_000, { type: 'pg-checkpoint' });
  }
  if (view?.switchover !== null && view?.switchover !== undefined && mode.request === null)
    beginSwitchover(turn, view.switchover);
  else if (mode.request !== null) beginSwitchover(turn, mode.request.request);
}
