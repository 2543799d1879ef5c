import { FENCE_BEFORE_MS, KILL_BEFORE_MS, leaseDeadline } from './lease-deadline.ts';
import type { ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

const FAST_STOP_MS = 4000;

/**
 * From any mode that holds the lease: PostgreSQL goes first, is proven gone, and only then is the key given back.
 * `fast`: an orderly stop of this process, nothing is wrong.
 */
export function beginDemotion(turn: Turn, reason: string, stopMode: 'fast' | 'immediate'): void {
  const { mode, config, server } = turn.state;
  if (!('lead' in mode) || mode.kind === 'DEMOTING') return;
  const busy = !turn.idle('server', 'local');
  turn.cancel('server', 'row', 'sync', 'checkpoint', 'slots', 'sample', 'decide', 'local');
  const deadline = leaseDeadline(config, mode.lead);
  const patient = stopMode === 'fast' ? FAST_STOP_MS : FENCE_BEFORE_MS - KILL_BEFORE_MS;
  // A server in the midst of something else, or dead already, is not asked: every process is killed and counted.
  const phase = busy || !server.running ? 'kill' : 'stop';
  turn.log('warn', 'demoting', `stops PostgreSQL: ${reason}`, { term: Number(mode.lead.term), reason });
  const killAtMs = Math.min(deadline - KILL_BEFORE_MS, turn.now + patient);
  turn.go({ kind: 'DEMOTING', lead: mode.lead, reason, phase, stopMode, killAtMs });
}

export function proceedDemoting(turn: Turn, mode: ModeOf<'DEMOTING'>): void {
  if (mode.phase === 'release') return release(turn, mode);
  if (mode.phase === 'stop' && turn.now < mode.killAtMs) {
    if (turn.idle('server'))
      turn.start('server', 'stop', FAST_STOP_MS + 1000, { type: 'pg-stop', mode: mode.stopMode });
    return;
  }
  if (!turn.idle('kill')) return;
  turn.cancel('server');
  turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
}

/** The key is deleted only where it is still ours; where the store does not answer, it expires by itself. */
function release(turn: Turn, mode: ModeOf<'DEMOTING'>): void {
  if (!turn.idle('decide')) return;
  turn.guarded('decide', 'release', mode.lead, [{ type: 'delete', key: turn.keys.leader }], 500);
}

export function demotingDone(turn: Turn, mode: ModeOf<'DEMOTING'>, answer: Answer): void {
  if (answer.what === 'stop' || answer.what === 'kill') {
    turn.cancel('server', 'kill');
    turn.setServer({ running: false });
    turn.effects.push({ type: 'feed-watchdog', deadlineMs: null });
    turn.log('info', 'fenced', 'no process of PostgreSQL is left', { term: Number(mode.lead.term) });
    return turn.go({ ...mode, phase: 'release' });
  }
  if (answer.what === 'release') {
    if (answer.outcome?.type === 'transaction') turn.set({ ownRevision: answer.outcome.revision });
    released(turn, mode);
  }
}

export function demotingFailed(turn: Turn, mode: ModeOf<'DEMOTING'>, answer: Answer): void {
  if (answer.what === 'stop') return turn.go({ ...mode, phase: 'kill' });
  if (answer.what === 'kill')
    return turn.log('error', 'fence.failed', `PostgreSQL cannot be killed: ${answer.failure?.message ?? ''}`);
  if (answer.what === 'release') released(turn, mode);
}

export function demotingExit(turn: Turn, mode: ModeOf<'DEMOTING'>): void {
  if (mode.phase === 'stop' && turn.idle('server')) turn.go({ ...mode, phase: 'kill' });
}

function released(turn: Turn, mode: ModeOf<'DEMOTING'>): void {
  const { lead } = mode;
  turn.log('info', 'lease.released', `term ${lead.term} is given back: ${mode.reason}`, { term: Number(lead.term) });
  abandonLease(turn, lead.lease);
  turn.set({ resignedAtMs: turn.now });
  turn.go({ kind: 'FENCED', phase: 'start', untilMs: 0 });
}

export function abandonLease(turn: Turn, lease: ModeOf<'DEMOTING'>['lead']['lease']): void {
  turn.cancel('lease', 'guard');
  if (turn.idle('revoke')) turn.start('revoke', 'revoke', 1000, { type: 'revoke-lease', lease });
}
