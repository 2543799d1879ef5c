import type { Backend } from '../pool/backend.ts';
import { dropBackend, giveBack } from './give-back.ts';
import { recheckPins, shouldRecheckPins } from './pins.ts';
import type { Session } from './session.ts';
import { TERMINATE_LIMIT_MS } from './limits.ts';

/** The unit is over and no transaction is open: the server goes back to its pool, unless something pins it. */
export function releaseAfterUnit(session: Session): void {
  const { backend } = session;
  session.pass?.leave();
  session.pass = null;
  if (session.copyPart) return; // its end releases it
  const recheck = shouldRecheckPins(session);
  session.pinsMoved = false;
  if (backend === null) return;
  if (session.settings.overflowed) session.pins.add('session-state');
  if (session.pins.size === 0 || backend.place.role === 'follower') {
    giveBack(session);
    return;
  }
  if (recheck) recheckPins(session, backend);
}

/** The client is gone, or is being sent away: nothing is read from it or written to it any more. */
export function abandon(session: Session): void {
  const { backend, phase } = session;
  session.phase = 'closed';
  session.reader.stop();
  session.waiting?.abort(new Error('the client has gone'));
  closeSocket(session);
  session.home.giveUp();
  if (backend === null) {
    session.pass?.leave();
    session.pass = null;
    return;
  }
  // As with PostgreSQL itself, an autocommit write or a COMMIT that is on its way is carried out.
  if (phase === 'busy' && mayNotBeStopped(session)) {
    backend.resume(); // it may have waited for a client that did not read
    return;
  }
  if (phase === 'busy') backend.sendCancel();
  dropBackend(session);
}

function mayNotBeStopped(session: Session): boolean {
  const { unit, transaction } = session;
  if (unit === null || !unit.complete) return false;
  return unit.plan.committing || (transaction.kind === 'idle' && !unit.plan.retryable);
}

function closeSocket(session: Session): void {
  const { socket } = session;
  if (socket.destroyed) return;
  socket.end();
  // A client that does not read its last message does not keep the socket.
  setTimeout(() => socket.destroy(), TERMINATE_LIMIT_MS).unref();
}

/** S5 for a server in the hands of a session: whether work of its term may still be sent. */
export function mayStillLead(session: Session, backend: Backend): boolean {
  const { term } = backend.place;
  return term === null || session.context.lease.stillLeads(term);
}
