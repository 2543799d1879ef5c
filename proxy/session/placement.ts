import type { Backend } from '../pool/backend.ts';
import { stateLost, transactionLost } from './errors.ts';
import type { Need } from './level.ts';
import { dropBackend, giveBack, settleDoubt } from './give-back.ts';
import { doom, refuseUnit, report } from './refuse.ts';
import { mayStillLead } from './release.ts';
import { sendUnit } from './send.ts';
import { losesState } from './sequences.ts';
import { enter, find, type Placed } from './servers.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';
import { waitForLease } from './waits.ts';

/** The slow path; the session's input waits meanwhile. Ends with the unit sent or refused. */
export function place(session: Session, unit: Unit, need: Need): void {
  const abort = startWaiting(session, new AbortController());
  void find(session, unit, need, abort.signal).then(
    (placed) => {
      stopWaiting(session);
      if (session.phase === 'closed' || abort.signal.aborted) {
        placed.pass?.leave();
        placed.pool.give(placed.backend);
        if (session.phase !== 'closed') refuseUnit(session, unit, abort.signal.reason);
        return;
      }
      attach(session, placed);
      sendUnit(session, unit);
      session.readOn(); // the rest of a long message answers nothing until it is whole
    },
    (error: unknown) => {
      stopWaiting(session);
      if (session.phase !== 'closed') refuseUnit(session, unit, error);
    },
  );
}

/** Leader work after reads on a follower: waits until the leader shows what was read, then starts anew. */
export function placeSettled(session: Session, unit: Unit): void {
  const abort = startWaiting(session, new AbortController());
  void enter(session, true, abort.signal).then(
    (pass) => {
      pass.leave();
      stopWaiting(session);
      if (session.phase !== 'closed') session.startAnew(unit);
      session.readOn(); // the rest of a long message answers nothing until it is whole
    },
    (error: unknown) => {
      stopWaiting(session);
      if (session.phase !== 'closed') refuseUnit(session, unit, error);
    },
  );
}

/** Returns what ends the wait. */
export function startWaiting<Wait extends { abort(reason: Error): void }>(session: Session, wait: Wait): Wait {
  session.phase = 'placing';
  session.waiting = wait;
  session.waitingFor = 'connection';
  session.waitingSinceMs = session.context.clock.nowMs();
  return wait;
}

export function stopWaiting(session: Session): void {
  session.waiting = null;
  session.waitingFor = null;
}

export function attach(session: Session, placed: Placed): void {
  const { backend } = placed;
  settleDoubt(session, backend);
  session.backend = backend;
  session.pool = placed.pool;
  session.pass = placed.pass;
  placed.backend.attach(session);
}

/** An open transaction or a pinned session whose leader is not confirmed now: it waits until it is, or is known not to be. */
export function placeAgain(session: Session, unit: Unit, backend: Backend): void {
  const abort = startWaiting(session, new AbortController());
  const inTransaction = session.pass !== null;
  session.waitingFor = 'leader';
  const done = inTransaction
    ? waitForLease(session, backend, abort.signal)
    : session.context.gate.enter(abort.signal).then((pass) => {
        session.pass = pass;
        return pass.term === backend.place.term;
      });
  void done.then(
    (leads) => {
      stopWaiting(session);
      if (session.phase === 'closed') return;
      if (session.backend !== backend)
        session.startAnew(unit); // lost meanwhile: its transaction is doomed, or there was none
      else if (leads && mayStillLead(session, backend)) sendUnit(session, unit);
      else giveUp(session, unit, inTransaction);
    },
    (error: unknown) => {
      stopWaiting(session);
      if (session.phase === 'closed') return;
      if (session.backend !== backend) {
        session.startAnew(unit);
        return;
      }
      if (!inTransaction && session.pins.size === 0) giveBack(session);
      refuseUnit(session, unit, error);
    },
  );
}

function giveUp(session: Session, unit: Unit, inTransaction: boolean): void {
  const reason = 'this proxy could not confirm that the server still leads';
  if (losesState(session)) {
    session.terminate(stateLost(reason, session.pins));
    return;
  }
  dropBackend(session);
  if (!inTransaction) {
    session.startAnew(unit);
    return;
  }
  report(session, unit, doom(session, transactionLost(reason)));
}
