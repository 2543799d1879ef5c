import { NO_TERM } from '../../common/lsn.ts';
import { openLeader, peerOf } from './facts.ts';
import type { ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/** They end by themselves when the leader goes; this bound only catches what hangs. */
const COPY_TIMEOUT_MS = 24 * 3_600_000;
const STOP_TIMEOUT_MS = 10_000;

export function beginClone(turn: Turn, why: string): void {
  const source = openLeader(turn.state);
  if (source === null) return;
  turn.log('info', 'rejoin.clone', `clones from ${source.node}: ${why}`, { term: Number(source.term) });
  turn.cancel('sample', 'slots');
  turn.set({ failures: 0 });
  turn.go({ kind: 'CLONING', from: peerOf(source), term: source.term, phase: 'stop' });
}

export function proceedCopying(turn: Turn, mode: ModeOf<'CLONING'> | ModeOf<'REWINDING'>): void {
  const { local, view } = turn.state;
  const moved = view?.leader?.record.term !== mode.term;
  if (moved && !turn.idle('server')) {
    turn.log('warn', 'rejoin.abandoned', 'the leader it copied from leads no more');
    turn.cancel('server');
    turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
    return;
  }
  if (!turn.serverReady || !turn.idle('local')) return;
  if (mode.phase === 'save') {
    return turn.saveLocal('lineage', {
      ...local,
      lineageTerm: mode.term,
      // A rewind that did nothing leaves the old content; a clone is all the leader's.
      baseTerm: mode.kind === 'REWINDING' ? mode.base : NO_TERM,
      bootstrapping: false,
    });
  }
  if (moved) return turn.go({ kind: 'INIT', killed: false });
  if (mode.phase === 'stop') {
    turn.start('server', 'stop', STOP_TIMEOUT_MS, {
      type: 'pg-stop',
      mode: mode.kind === 'CLONING' ? 'immediate' : 'fast',
    });
    return;
  }
  const type = mode.kind === 'CLONING' ? 'pg-clone' : 'pg-rewind';
  turn.start('server', 'copy', COPY_TIMEOUT_MS, { type, from: mode.from });
}

export function copyingDone(turn: Turn, mode: ModeOf<'CLONING'> | ModeOf<'REWINDING'>, answer: Answer): void {
  if (answer.lane === 'kill') {
    turn.setServer({ running: false, data: null });
    turn.go({ kind: 'INIT', killed: true });
  } else if (answer.what === 'stop') {
    turn.setServer({ running: false });
    turn.go(mode.kind === 'CLONING' ? { ...mode, phase: 'clone' } : { ...mode, phase: 'rewind' });
  } else if (answer.what === 'copy') {
    turn.go({ ...mode, phase: 'save' });
  } else if (answer.what === 'lineage') {
    turn.set({ failures: 0, copiedFrom: mode.term });
    if (mode.kind === 'REWINDING') turn.set({ rewoundFor: mode.term });
    turn.log('info', 'rejoin.copied', mode.kind === 'CLONING' ? 'the clone is complete' : 'the rewind is complete');
    turn.setServer({ data: null });
    turn.go({ kind: 'INIT', killed: true });
  }
}

export function copyingFailed(turn: Turn, mode: ModeOf<'CLONING'> | ModeOf<'REWINDING'>, answer: Answer): void {
  turn.backOff(answer);
  if (answer.lane === 'kill' || answer.what === 'stop') {
    if (turn.idle('kill')) turn.start('kill', 'kill', 30_000, { type: 'pg-kill' });
  } else if (answer.what === 'copy') {
    // A rewind that failed half-way is found as `unfinished`, and cloned over.
    if (mode.kind === 'REWINDING') turn.set({ rewoundFor: mode.term });
    turn.setServer({ data: null });
    turn.go({ kind: 'INIT', killed: true });
  }
}
