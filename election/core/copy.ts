import { NO_TERM, type Term } from '../../common/lsn.ts';
import { openLeader, peerOf } from './facts.ts';
import { givenUpBy } from './lineage.ts';
import type { AgentState, ModeOf } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/** They end by themselves when the leader goes; this bound only catches what hangs. */
const COPY_TIMEOUT_MS = 24 * 3_600_000;
const STOP_TIMEOUT_MS = 10_000;

/**
 * Replaces the data, whose content ends with that of term `claim`, by the leader's. Where a forced term has given up what it
 * may hold, it is kept aside, and the operator says when it goes.
 */
export function beginClone(turn: Turn, why: string, claim: Term): void {
  const source = openLeader(turn.state);
  if (source === null) return;
  const keep = givenUpBy(turn.state.view?.history ?? [], claim, source.term);
  turn.log('info', 'rejoin.clone', `clones from ${source.node}: ${why}`, { term: Number(source.term) });
  if (keep !== null) {
    const text = `keeps its data aside as ${keptName(keep)}: the forced failover of term ${keep} went on without it`;
    turn.log('warn', 'rejoin.kept', text, { term: Number(keep) });
  }
  turn.cancel('sample', 'slots');
  turn.set({ failures: 0 });
  turn.go({ kind: 'CLONING', from: peerOf(source), term: source.term, keep, phase: 'stop' });
}

/** The claim of data that nobody can ask: never too high. A copy in the making is all its source's. */
export function leastClaim({ local, copiedFrom }: AgentState): Term {
  if (copiedFrom !== null) return copiedFrom;
  return local.baseTerm < local.lineageTerm ? local.baseTerm : local.lineageTerm;
}

function keptName(term: Term): string {
  return `term-${term}`;
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
  if (mode.kind === 'REWINDING') {
    return turn.start('server', 'copy', COPY_TIMEOUT_MS, { type: 'pg-rewind', from: mode.from });
  }
  const keepAs = mode.keep === null ? null : keptName(mode.keep);
  turn.start('server', 'copy', COPY_TIMEOUT_MS, { type: 'pg-clone', from: mode.from, keepAs });
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
