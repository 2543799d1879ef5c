import { decodeCommandTag } from '../wire/decode.ts';
import { errorResponse } from '../wire/encode.ts';
import { cancelled, outcomeUnknown } from './errors.ts';
import type { Entry } from './exchange.ts';
import type { Session } from './session.ts';

/**
 * Ends the session's wait, or passes the cancel on to the server that works for it; a COMMIT is left alone. Calls `done` when
 * the server was told: until then the client may not take it that its next statement is safe.
 */
export function cancelSession(session: Session, done: () => void): void {
  const { unit, backend, waiting } = session;
  if (waiting !== null) waiting.abort(cancelled());
  else if (!session.exchange.done && unit !== null && backend !== null && !unit.plan.committing) {
    unit.cancelSent = true;
    session.context.metrics.cancelled();
    backend.sendCancel(done);
    return;
  }
  done();
}

/**
 * Whether a reported success may hide a wait for synchronous followers that a cancel ended: committed on the leader,
 * and nobody knows where else (S7). PostgreSQL warns of it, but not where `client_min_messages` is `error`, which not
 * only SET can bring about (ALTER ROLE, set_config, SET LOCAL). So no write is a success for whom a cancel was sent.
 */
export function isInDoubt(session: Session): boolean {
  return session.unit?.cancelSent === true && session.wrote && !session.errored;
}

/** The same at a CommandComplete that comes after the commit: that of a Query of one statement. */
export function isTagInDoubt(session: Session, entry: Entry, buffer: Buffer, start: number, end: number): boolean {
  const { unit, transaction } = session;
  if (unit?.cancelSent !== true) return false;
  if (decodeCommandTag(buffer, start + 5, end) === 'ROLLBACK') unit.cancelSent = false;
  if (transaction.kind === 'open' && !unit.plan.committing) return false;
  return entry.kind === 'query' && unit.simple?.statements.length === 1 && isInDoubt(session);
}

/** A success without the quorum's acknowledgement is none (ELECTION.md, "Pitfalls"). */
export function tellInDoubt(session: Session, reason: string): void {
  session.holding = false;
  session.muted = true;
  session.errored = true;
  session.out.send(errorResponse(outcomeUnknown(reason)));
}
