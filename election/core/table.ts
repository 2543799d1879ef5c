import { beginDemotion, demotingDone, demotingExit, demotingFailed } from './demote.ts';
import { candidateDone, candidateFailed, pledgedDone, pledgedFailed } from './elect.ts';
import { describePause } from './facts.ts';
import { copyingDone, copyingFailed } from './copy.ts';
import { fencedDone, fencedFailed, followerDone, stopNow } from './follow.ts';
import { initDone, initFailed } from './init.ts';
import { decisionRefused, renewalAnswered } from './hold-lease.ts';
import { leaderDone, leaderFailed } from './lead.ts';
import { promotingDone, promotingFailed } from './promote.ts';
import type { Mode, ModeOf } from './state.ts';
import { drainingDone, drainingFailed } from './switchover.ts';
import type { Answer, Turn } from './turn.ts';
import type { Input, InputType } from './types.ts';

/** What a reaction is given besides the turn and the mode. */
type Given<E extends InputType> = E extends 'effect-done' | 'effect-failed'
  ? Answer
  : E extends 'command'
    ? Extract<Input, { type: 'command' }>['command']
    : undefined;

/**
 * State × input. `look`: nothing but what `proceed` does after every input by the facts as they now stand.
 * The compiler demands every cell.
 */
type Table = {
  readonly [K in Mode['kind']]: {
    readonly [E in InputType]: (turn: Turn, mode: ModeOf<K>, given: Given<E>) => void;
  };
};

const look = (): void => {};
const seen = { tick: look, cluster: look, 'store-unreachable': look } as const;

type Command = Given<'command'>;

/** Not a leader: there is nothing to give up. What an operator consents to (`force`) is looked at by who waits for a leader. */
const onlyStop = (turn: Turn, _mode: Mode, command: Command): void => {
  if (command === 'stop') stopNow(turn);
};

const giveUp = (turn: Turn, _mode: Mode, command: Command): void => {
  if (command === 'force') return;
  const pause = turn.state.view?.pause ?? null;
  if (command === 'failover' && pause !== null) {
    return turn.log('warn', 'failover.refused', `no failover: it is paused ${describePause(pause)}`);
  }
  if (command === 'stop') turn.set({ stopping: true });
  beginDemotion(
    turn,
    command === 'stop' ? 'the agent was asked to stop' : 'an operator asked for a failover',
    command === 'stop' ? 'fast' : 'immediate',
  );
};

/** The PostgreSQL of a leader ended by itself: prove it empty, release at once, nobody waits for the TTL. */
const crashed = (turn: Turn): void => beginDemotion(turn, 'PostgreSQL has ended', 'immediate');

const whileLeading =
  <M extends Mode>(reaction: (turn: Turn, mode: M, answer: Answer) => void) =>
  (turn: Turn, _mode: M, answer: Answer): void => {
    if (renewalAnswered(turn, answer) || decisionRefused(turn, answer)) return;
    reaction(turn, turn.state.mode as M, answer);
  };

const failedQuietly = (turn: Turn, _mode: Mode, answer: Answer): void => turn.backOff(answer);

export const table: Table = {
  INIT: { ...seen, 'postgres-exit': look, 'effect-done': initDone, 'effect-failed': initFailed, command: onlyStop },
  CLONING: {
    ...seen,
    'postgres-exit': look,
    'effect-done': copyingDone,
    'effect-failed': copyingFailed,
    command: onlyStop,
  },
  REWINDING: {
    ...seen,
    'postgres-exit': look,
    'effect-done': copyingDone,
    'effect-failed': copyingFailed,
    command: onlyStop,
  },
  FOLLOWER: {
    ...seen,
    'postgres-exit': look,
    'effect-done': followerDone,
    'effect-failed': failedQuietly,
    command: onlyStop,
  },
  PLEDGED: {
    ...seen,
    'postgres-exit': look,
    'effect-done': pledgedDone,
    'effect-failed': pledgedFailed,
    command: onlyStop,
  },
  CANDIDATE: {
    ...seen,
    'postgres-exit': look,
    'effect-done': candidateDone,
    'effect-failed': candidateFailed,
    command: onlyStop,
  },
  PROMOTING: {
    ...seen,
    'postgres-exit': (turn, mode) => {
      if (mode.phase !== 'initialise' && mode.phase !== 'inspect') crashed(turn);
    },
    'effect-done': whileLeading(promotingDone),
    'effect-failed': whileLeading(promotingFailed),
    command: giveUp,
  },
  LEADER_HELD: {
    ...seen,
    'postgres-exit': crashed,
    'effect-done': whileLeading(leaderDone),
    'effect-failed': whileLeading(leaderFailed),
    command: giveUp,
  },
  LEADER_OPEN: {
    ...seen,
    'postgres-exit': crashed,
    'effect-done': whileLeading(leaderDone),
    'effect-failed': whileLeading(leaderFailed),
    command: giveUp,
  },
  DRAINING: {
    ...seen,
    'postgres-exit': (turn, mode) => {
      if (mode.phase === 'drain' || mode.phase === 'abort') crashed(turn);
    },
    'effect-done': whileLeading(drainingDone),
    'effect-failed': whileLeading(drainingFailed),
    command: giveUp,
  },
  DEMOTING: {
    ...seen,
    'postgres-exit': demotingExit,
    'effect-done': whileLeading(demotingDone),
    'effect-failed': whileLeading(demotingFailed),
    command: (turn, _mode, command) => {
      if (command === 'stop') turn.set({ stopping: true });
    },
  },
  FENCED: {
    ...seen,
    'postgres-exit': look,
    'effect-done': fencedDone,
    'effect-failed': fencedFailed,
    command: onlyStop,
  },
};
