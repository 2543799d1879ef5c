import { assertNever } from '../../common/never.ts';
import type { Operation } from '../store/port.ts';
import * as records from '../store/records.ts';
import { beginDemotion } from './demote.ts';
import { holdLease } from './hold-lease.ts';
import { effective, parseSyncLabel, syncLabel } from './manage-sync.ts';
import { ownMember, takeSample } from './observe.ts';
import type { Lead, ModeOf, Preparation, PromotingPhase } from './state.ts';
import { ALONE } from './sync-quorum.ts';
import type { Answer, Turn } from './turn.ts';
import { historyOf, putSync, routeOf } from './writes.ts';

/** A promotion that takes longer than this is given up, and another node may try. */
const PROMOTE_TIMEOUT_MS = 60_000;
const INITIALISE_TIMEOUT_MS = 300_000;
const SLOTS_PATIENCE_MS = 300;

export function proceedPromoting(turn: Turn): void {
  if (!holdLease(turn)) return;
  const { mode, server } = turn.state;
  if (mode.kind !== 'PROMOTING' || !turn.idle('kill') || turn.now < turn.state.retryAtMs) return;
  const { phase } = mode;
  if (phase === 'prepare') return prepare(turn, mode);
  if (!turn.idle('server', 'local', 'sync')) return;
  switch (phase) {
    case 'save':
      return saveLineage(turn, mode.lead);
    case 'initialise':
      if (server.data?.kind === 'data') return turn.go({ ...mode, phase: 'start' });
      return turn.start('server', 'initialise', INITIALISE_TIMEOUT_MS, { type: 'pg-initialise' });
    case 'inspect':
      return turn.start('server', 'inspect', 60_000, { type: 'pg-inspect' });
    case 'start':
      return turn.start('server', 'start', 600_000, { type: 'pg-start', role: 'leader', peer: null });
    case 'promote':
      return turn.start('server', 'promote', PROMOTE_TIMEOUT_MS, { type: 'pg-promote' });
    case 'sample':
      if (turn.idle('sample')) turn.start('sample', 'promoted', 1000, { type: 'pg-sample' });
      return;
    case 'announce':
      if (turn.idle('decide') && hasSlots(turn)) announce(turn);
      return;
    default:
      return assertNever(phase, 'phase');
  }
}

function prepare(turn: Turn, mode: ModeOf<'PROMOTING'>): void {
  const { lead, left } = mode;
  if (left.includes('lineage') && turn.idle('local')) saveLineage(turn, lead);
  if (left.includes('fence') && turn.idle('server')) {
    if (turn.state.server.open) turn.start('server', 'fence', 10_000, { type: 'pg-open', open: false });
    else return prepared(turn, mode, 'fence');
  }
  if (left.includes('synchronous') && turn.idle('sync')) {
    const { members, k } = effective(turn.state, lead.recorded);
    turn.start('sync', syncLabel({ members, k }), 10_000, { type: 'pg-set-synchronous', names: members, k });
  }
}

function prepared(turn: Turn, mode: ModeOf<'PROMOTING'>, what: Preparation): void {
  const left = mode.left.filter((one) => one !== what);
  const next = mode.lead.reason === 'bootstrap' ? 'sample' : 'promote';
  turn.go({ ...mode, left, phase: left.length === 0 ? next : 'prepare' });
}

function saveLineage(turn: Turn, lead: Lead): void {
  const { local } = turn.state;
  const bootstrapping = local.bootstrapping || lead.reason === 'bootstrap';
  turn.saveLocal('lineage', { ...local, lineageTerm: lead.term, baseTerm: lead.parent, bootstrapping });
}

/** Whoever comes too early finds no slot and tries again a while later; what hangs is not waited for. */
function hasSlots(turn: Turn): boolean {
  const { slots } = turn.state.pending;
  return slots === undefined || turn.now - slots.sinceMs > SLOTS_PATIENCE_MS;
}

function announce(turn: Turn): void {
  const { mode, config, memberLease, server } = turn.state;
  if (mode.kind !== 'PROMOTING') return;
  if (server.sample === null) return turn.go({ ...mode, phase: 'sample' });
  const { lead } = mode;
  const then: Operation[] = [
    routeOf(turn, lead.term, { hold: true, seq: lead.routeSeq + 1, nextXid: lead.nextXid }),
    historyOf(turn, lead.term, { ...lead, promoted: true }),
  ];
  if (lead.reason === 'bootstrap') {
    const systemId = server.sample.systemId;
    const system = records.encodeRecord(records.systemRecord, { systemId, initialisedBy: config.node });
    then.push({ type: 'put', key: turn.keys.system, value: system }, putSync(turn, lead.term, ALONE));
  }
  if (memberLease !== null && turn.idle('member-put')) {
    // With the route, so that followers need not wait for the next publication to find their leader.
    const value = records.encodeRecord(records.memberRecord, { ...ownMember(turn), state: 'LEADER_HELD' });
    then.push({ type: 'put', key: turn.keys.member(config.node), value, lease: memberLease.id });
  }
  turn.decide(lead.reason === 'bootstrap' ? 'announce-bootstrap' : 'announce', lead, then);
}

export function promotingDone(turn: Turn, mode: ModeOf<'PROMOTING'>, answer: Answer): void {
  const { outcome } = answer;
  const next = (phase: PromotingPhase): void => turn.go({ ...mode, phase });
  if (answer.lane === 'sync') {
    return prepared(turn, { ...mode, lead: { ...mode.lead, applied: parseSyncLabel(answer.what) } }, 'synchronous');
  }
  switch (answer.what) {
    case 'lineage':
      return mode.phase === 'save' ? next('initialise') : prepared(turn, mode, 'lineage');
    case 'fence':
      turn.setServer({ open: false });
      return prepared(turn, mode, 'fence');
    case 'initialise':
      return next('inspect');
    case 'inspect':
      if (outcome?.type === 'data') turn.setServer({ data: outcome.data });
      return next('start');
    case 'start':
      turn.setServer({ running: true });
      return next('prepare');
    case 'promote': {
      if (outcome?.type !== 'promoted') return;
      const { timeline, nextXid } = outcome.result;
      turn.cancel('sample');
      turn.setServer({ sample: null });
      turn.log('info', 'promoted', `PostgreSQL is out of recovery, timeline ${timeline}`, { timeline, nextXid });
      return turn.go({ ...mode, lead: { ...mode.lead, timeline, nextXid }, phase: 'sample' });
    }
    case 'promoted':
      return promoted(turn, answer);
    case 'announce':
    case 'announce-bootstrap':
      turn.setLead({ routeSeq: mode.lead.routeSeq + 1 });
      return held(turn);
  }
}

function promoted(turn: Turn, answer: Answer): void {
  takeSample(turn, answer);
  const { mode, server } = turn.state;
  if (mode.kind !== 'PROMOTING') return;
  if (server.sample === null || server.sample.inRecovery) return turn.pause(50);
  const { timeline } = server.sample;
  turn.go({ ...mode, lead: { ...mode.lead, timeline }, phase: 'announce' });
}

function held(turn: Turn): void {
  const { mode } = turn.state;
  if (mode.kind === 'PROMOTING') turn.go({ kind: 'LEADER_HELD', lead: mode.lead, phase: 'row' });
}

export function promotingFailed(turn: Turn, _mode: ModeOf<'PROMOTING'>, answer: Answer): void {
  if (answer.lane === 'decide' || answer.what === 'lineage' || answer.lane === 'sample') return turn.backOff(answer);
  beginDemotion(turn, `${answer.what} failed: ${answer.failure?.message ?? ''}`, 'immediate');
}
