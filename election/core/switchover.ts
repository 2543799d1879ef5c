import type { Lsn } from '../../common/lsn.ts';
import type { Operation, StoreKey } from '../store/port.ts';
import { decodeRecord, type SwitchoverRecord, syncRecord } from '../store/records.ts';
import { abandonLease, beginDemotion } from './demote.ts';
import { holdLease, leadLost } from './hold-lease.ts';
import type { Lead, ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';
import { putSync, routeOf } from './writes.ts';

/** How long the guards may fail before a request is refused. */
const GUARDS_LIMIT_MS = 2000;
const DRAIN_LIMIT_MS = 5000;
const STOP_LIMIT_MS = 3000;
const VERIFY_LIMIT_MS = 2000;
const LAG_LIMIT_BYTES = 16n * 1024n * 1024n;

/** LEADER_OPEN with a request: guards, a checkpoint, and then the hold (ELECTION.md, "Planned switchover", 1 and 2). */
export function beginSwitchover(turn: Turn, request: SwitchoverRecord): void {
  const { mode } = turn.state;
  if (mode.kind !== 'LEADER_OPEN' || !turn.idle('decide')) return;
  if (mode.lead.recording !== null || mode.lead.barrier !== null) return; // the durability record settles first
  const chosen = chooseTarget(turn, request);
  if (typeof chosen !== 'string') return notYet(turn, mode.lead, request, chosen.why);
  if (mode.request === null) {
    if (!turn.idle('checkpoint')) return;
    turn.log('info', 'switchover.begun', `switches over to ${chosen}`, { to: chosen });
    turn.go({ ...mode, request: { request, target: chosen, phase: 'checkpoint' } });
    return turn.start('checkpoint', 'switchover', 60_000, { type: 'pg-checkpoint' });
  }
  if (mode.request.phase !== 'hold') return;
  const route = routeOf(turn, mode.lead.term, { hold: true, seq: mode.lead.routeSeq + 1, nextXid: mode.lead.nextXid });
  turn.decide('hold', mode.lead, [route]);
}

/** The target, or why there is none. */
function chooseTarget(turn: Turn, request: SwitchoverRecord): string | { readonly why: string } {
  const { server, view, config } = turn.state;
  const { sample } = server;
  if (sample === null || view === null) return { why: 'PostgreSQL does not answer' };
  if (request.to === config.node) return { why: `${config.node} leads already` };
  const fit = sample.standbys.filter((s) => {
    const member = view.members.get(s.node);
    const streams = s.state === 'streaming' && member?.state === 'FOLLOWER';
    return (
      streams && sample.flushedLsn - s.flushedLsn <= LAG_LIMIT_BYTES && (request.to === s.node || !member.noFailover)
    );
  });
  if (request.to !== null) {
    if (fit.some((s) => s.node === request.to)) return request.to;
    return { why: `${request.to} does not stream, or lags by more than ${LAG_LIMIT_BYTES} bytes` };
  }
  const priority = (node: string) => view.members.get(node)?.priority ?? 0;
  const order = (a: (typeof fit)[number], b: (typeof fit)[number]) =>
    priority(b.node) - priority(a.node) ||
    Number(b.isSync) - Number(a.isSync) ||
    (a.flushedLsn > b.flushedLsn ? -1 : a.flushedLsn < b.flushedLsn ? 1 : 0) ||
    (a.node < b.node ? -1 : 1);
  return fit.sort(order)[0]?.node ?? { why: 'no follower streams' };
}

/** A follower that came a moment ago is not in the last sample yet. */
function notYet(turn: Turn, lead: Lead, request: SwitchoverRecord, why: string): void {
  const { asked } = turn.state;
  if (asked?.id !== request.id) return turn.set({ asked: { id: request.id, atMs: turn.now } });
  if (turn.now - asked.atMs >= GUARDS_LIMIT_MS) refuse(turn, lead, why);
}

function refuse(turn: Turn, lead: Lead, why: string): void {
  turn.log('warn', 'switchover.refused', `no switchover: ${why}`, { why });
  turn.note(`switchover refused: ${why}`);
  // A hold whose answer was lost may be in force: a later open route ends it.
  const seq = lead.routeSeq + 2;
  turn.setLead({ routeSeq: seq });
  turn.decide('refuse', lead, [
    { type: 'delete', key: turn.keys.switchover },
    routeOf(turn, lead.term, { hold: false, seq, nextXid: lead.nextXid }),
  ]);
}

/** Answers in LEADER_OPEN. True: dealt with. */
export function switchoverAnswered(turn: Turn, answer: Answer): boolean {
  const { mode } = turn.state;
  if (mode.kind !== 'LEADER_OPEN') return false;
  const ok = answer.outcome !== null;
  if (answer.what === 'switchover' && mode.request !== null) {
    turn.go(ok ? { ...mode, request: { ...mode.request, phase: 'hold' } } : { ...mode, request: null });
    if (!ok) turn.backOff(answer);
  } else if (answer.what === 'hold' && mode.request !== null) {
    if (!ok)
      turn.backOff(answer); // it may be in force: it is written again
    else {
      const lead = { ...mode.lead, routeSeq: mode.lead.routeSeq + 1 };
      const untilMs = turn.now + DRAIN_LIMIT_MS;
      turn.log('info', 'route.held', 'writes are held for the switchover', { seq: lead.routeSeq });
      turn.go({ kind: 'DRAINING', lead, request: mode.request, phase: 'drain', untilMs, finalLsn: null });
    }
  } else if (answer.what === 'refuse') {
    // The view still shows the request for a moment.
    turn.set({ retryAtMs: turn.now + 200 });
    if (ok) turn.go({ ...mode, request: null });
  } else return false;
  return true;
}

export function proceedDraining(turn: Turn): void {
  if (!holdLease(turn)) return;
  const { mode, view } = turn.state;
  if (mode.kind !== 'DRAINING' || view === null || !turn.idle('server', 'kill', 'decide')) return;
  if (turn.now < turn.state.retryAtMs) return;
  switch (mode.phase) {
    case 'drain': {
      const drained = [...view.proxies.values()].every((p) => p.appliedSeq >= mode.lead.routeSeq && p.inFlight === 0);
      if (drained) return turn.go({ ...mode, phase: 'stop' });
      if (turn.now < mode.untilMs) return;
      turn.log('warn', 'switchover.aborted', 'transactions in flight did not end in time: writes go on here', {});
      turn.note('switchover aborted: transactions in flight did not end in time');
      return turn.go({ ...mode, phase: 'abort' });
    }
    case 'stop':
      turn.cancel('row', 'sync', 'checkpoint', 'slots', 'sample');
      return turn.start('server', 'stop', STOP_LIMIT_MS, { type: 'pg-stop', mode: 'fast' });
    case 'inspect':
      return turn.start('server', 'inspect', 2000, { type: 'pg-inspect' });
    case 'verify':
      return verify(turn, mode);
    case 'handover':
      return handOver(turn, mode);
    case 'abort':
      return release(turn, mode);
  }
}

/** The target holds everything that this leader ever wrote: only then may it be named in the durability record. */
function verify(turn: Turn, mode: ModeOf<'DRAINING'>): void {
  const target = turn.state.view?.members.get(mode.request.target);
  if (mode.finalLsn !== null && target?.timeline === mode.lead.timeline && target.flushedLsn > mode.finalLsn) {
    return turn.go({ ...mode, phase: 'handover' });
  }
  if (turn.now >= mode.untilMs) beginDemotion(turn, `${mode.request.target} did not receive everything`, 'fast');
}

function handOver(turn: Turn, mode: ModeOf<'DRAINING'>): void {
  const { lead, request } = mode;
  turn.decide('handover', lead, [
    { type: 'delete', key: turn.keys.leader },
    { type: 'delete', key: turn.keys.switchover },
    putSync(turn, lead.term, lead.recorded, request.target),
  ]);
}

function release(turn: Turn, mode: ModeOf<'DRAINING'>): void {
  const { lead } = mode;
  const then: Operation[] = [
    routeOf(turn, lead.term, { hold: false, seq: lead.routeSeq + 1, nextXid: lead.nextXid }),
    { type: 'delete', key: turn.keys.switchover },
  ];
  turn.decide('abort', lead, then);
}

export function drainingDone(turn: Turn, mode: ModeOf<'DRAINING'>, answer: Answer): void {
  const { outcome } = answer;
  if (answer.what === 'stop') {
    turn.setServer({ running: false });
    turn.go({ ...mode, phase: 'inspect' });
  } else if (answer.what === 'inspect' && outcome?.type === 'data' && outcome.data.kind === 'data') {
    const finalLsn: Lsn = outcome.data.checkpointLsn;
    if (!outcome.data.cleanShutdown) return beginDemotion(turn, 'PostgreSQL did not stop cleanly', 'fast');
    turn.go({ ...mode, phase: 'verify', finalLsn, untilMs: turn.now + VERIFY_LIMIT_MS });
  } else if (answer.what === 'handover' && outcome?.type === 'transaction') {
    if (!outcome.succeeded && !handedOverBefore(outcome.gets, mode)) {
      return leadLost(turn, 'the leader key is no longer ours');
    }
    handedOver(turn, mode, outcome.revision);
  } else if (answer.what === 'abort' && outcome?.type === 'transaction') {
    const lead = { ...mode.lead, routeSeq: mode.lead.routeSeq + 1 };
    turn.log('info', 'route.opened', `accepts writes again, term ${lead.term}`, {
      term: Number(lead.term),
      seq: lead.routeSeq,
    });
    turn.go({ kind: 'LEADER_OPEN', lead, request: null });
  }
}

/** An earlier request, whose answer was lost, did it. */
function handedOverBefore(gets: readonly (StoreKey | null)[], mode: ModeOf<'DRAINING'>): boolean {
  const [leader, sync] = gets;
  const record = sync ? decodeRecord(syncRecord, sync.value) : null;
  return (
    leader?.createRevision !== mode.lead.createRevision &&
    record?.term === mode.lead.term &&
    record.handover === mode.request.target
  );
}

function handedOver(turn: Turn, mode: ModeOf<'DRAINING'>, revision: number): void {
  const { lead, request } = mode;
  turn.set({ ownRevision: revision, resignedAtMs: turn.now });
  turn.effects.push({ type: 'feed-watchdog', deadlineMs: null });
  turn.log('info', 'switchover.handed-over', `term ${lead.term} is over, ${request.target} takes over`, {
    term: Number(lead.term),
    to: request.target,
  });
  abandonLease(turn, lead.lease);
  turn.go({ kind: 'FENCED', phase: 'start', untilMs: 0 });
}

export function drainingFailed(turn: Turn, _mode: ModeOf<'DRAINING'>, answer: Answer): void {
  if (answer.what === 'stop' || answer.what === 'inspect')
    return beginDemotion(turn, `${answer.what} failed`, 'immediate');
  turn.backOff(answer);
}
