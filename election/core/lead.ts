import { lacksFollowers } from './facts.ts';
import { holdLease } from './hold-lease.ts';
import { manageSync, NOBODY, syncAnswered } from './manage-sync.ts';
import type { Lead, ModeOf } from './state.ts';
import { beginSwitchover, switchoverAnswered } from './switchover.ts';
import type { Answer, Turn } from './turn.ts';
import { routeOf } from './writes.ts';

/** A commit that waits is asked for again: whatever hangs, a new one does not. */
const ROW_TIMEOUT_MS = 5000;
const CHECKPOINT_AFTER_MS = 500;

export function proceedHeld(turn: Turn): void {
  if (!holdLease(turn)) return;
  manageSync(turn);
  const { mode, server } = turn.state;
  if (mode.kind !== 'LEADER_HELD') return;
  if (turn.now < turn.state.retryAtMs) return;
  if (mode.phase === 'row') return confirm(turn, mode.lead);
  if (lacksFollowers(turn.state, mode.lead)) {
    keepRewindable(turn, mode.lead);
    return turn.note('waits for synchronous followers before it accepts writes (withoutFollower: hold)');
  }
  if (mode.phase === 'route') {
    if (turn.idle('decide')) openRoute(turn, mode.lead);
  } else if (server.open) turn.go({ ...mode, phase: 'route' });
  else if (turn.idle('server', 'kill')) turn.start('server', 'open', 10_000, { type: 'pg-open', open: true });
}

/** A quorum of followers that have agreed to this term confirms everything up to its first row. */
function confirm(turn: Turn, lead: Lead): void {
  const { applied, recorded } = lead;
  if (applied === null || applied.members.includes(NOBODY)) {
    return turn.note(`waits for ${recorded.k} of ${recorded.members.join(', ')} to follow`);
  }
  if (applied.k > 0) turn.note(`waits for ${applied.k} of ${applied.members.join(', ')} to confirm`);
  if (!turn.idle('row', 'sync')) return;
  turn.start('row', 'row', ROW_TIMEOUT_MS, { type: 'pg-write-term-row', term: lead.term });
}

export function openRoute(turn: Turn, lead: Lead): void {
  turn.decide('route', lead, [
    routeOf(turn, lead.term, { hold: false, seq: lead.routeSeq + 1, nextXid: lead.nextXid }),
  ]);
}

export function leaderDone(turn: Turn, mode: ModeOf<'LEADER_HELD'> | ModeOf<'LEADER_OPEN'>, answer: Answer): void {
  if (syncAnswered(turn, answer) || switchoverAnswered(turn, answer)) return;
  if (answer.what === 'row' && mode.kind === 'LEADER_HELD') {
    turn.note(null);
    turn.go({ ...mode, phase: 'open' });
  } else if (answer.what === 'open') turn.setServer({ open: true });
  else if (answer.what === 'checkpoint') turn.setLead({ rewindable: true });
  else if (answer.what === 'route') {
    turn.setLead({ routeSeq: mode.lead.routeSeq + 1, openedAtMs: turn.now });
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
  keepRewindable(turn, mode.lead);
  if (view?.switchover !== null && view?.switchover !== undefined && mode.request === null)
    beginSwitchover(turn, view.switchover);
  else if (mode.request !== null) beginSwitchover(turn, mode.request.request);
}

/** pg_rewind takes its source's timeline from the last checkpoint. */
function keepRewindable(turn: Turn, lead: Lead): void {
  // Not in the moment in which all that was held comes at once.
  if (lead.openedAtMs !== null && turn.now - lead.openedAtMs < CHECKPOINT_AFTER_MS) return;
  if (lead.rewindable || !turn.idle('checkpoint')) return;
  turn.start('checkpoint', 'checkpoint', 600_000, { type: 'pg-checkpoint' });
}
