import type { ClientError } from '../../common/errors.ts';
import { DOOMED, IDLE, readyStatus } from '../routing/transaction.ts';
import { errorResponse, readyForQuery } from '../wire/encode.ts';
import { asClientError, inFailedTransaction, withSeverity } from './errors.ts';
import type { Entry } from './exchange.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** The unit is not carried out: no server could be had for it. The session lives on, unless the error is FATAL. */
export function refuseUnit(session: Session, unit: Unit, cause: unknown): void {
  const error = asClientError(cause);
  session.context.logger.debug(
    { event: 'unit.refused', sqlState: error.sqlState, session: session.processId },
    'refused',
  );
  if (session.transaction.kind === 'deferred') session.transaction = DOOMED;
  report(session, unit, error);
}

/**
 * Answers a unit with an error of the proxy's own. The state of the transaction must have been set before. `unheard` are the
 * messages that were not carried out as far as the client can know.
 */
export function report(
  session: Session,
  unit: Unit,
  error: ClientError,
  unheard: readonly Entry[] = unit.entries,
): void {
  if (session.phase === 'closed') return;
  if (error.sqlState === '57P01' && session.draining !== null) {
    session.terminate(session.draining);
    return;
  }
  if (session.partOpen) {
    session.terminate(error); // the rest of its message is still on its way
    return;
  }
  for (const entry of unheard.toReversed()) entry.undo?.();
  if (error.sqlState === '40001') giveUpNames(session, unit);
  session.context.metrics.clientError(error.sqlState);
  session.activity.fail(unit, error.sqlState, readyStatus(session.transaction) !== 'I');
  session.exchange.reset();
  session.unit = null;
  session.out.send(errorResponse(withSeverity(error, 'ERROR')));
  if (unit.complete) {
    session.out.send(readyForQuery(readyStatus(session.transaction)));
    session.phase = 'idle';
  } else {
    session.phase = 'discarding';
  }
  session.flush();
  session.readOn();
}

/** A driver whose DEALLOCATE is the first to hear of the loss takes the name for free all the same. */
function giveUpNames({ statements }: Session, { simple, entries }: Unit): void {
  for (const classification of [simple, ...entries.map(({ tracked }) => tracked)]) {
    for (const statement of classification?.statements ?? []) {
      if (statement.kind !== 'deallocate' || statement.name === null) continue;
      if (statements.named.has(statement.name)) statements.givenUp.add(statement.name);
    }
  }
}

/** The transaction is lost with its server, for a reason that the client hears in answer to its unit. */
export function doom(session: Session, error: ClientError): ClientError {
  session.transaction = DOOMED;
  session.doom = { error: withSeverity(error, 'ERROR'), told: true };
  return error;
}

/** What a statement in a transaction without a server hears: the first one why, the others that it has failed. */
export function tellDoom(session: Session): ClientError {
  const { doom: known } = session;
  if (known === null || known.told) return inFailedTransaction();
  session.doom = { error: known.error, told: true };
  return known.error;
}

/** The transaction is over for the client, whatever became of it. */
export function forgetTransaction(session: Session): void {
  session.transaction = IDLE;
  session.doom = null;
  session.settings.endTransaction(false);
  session.statements.portals.clear();
  session.statements.unnamedPortal = null;
  session.wrote = false;
  session.outcome.forget();
  session.opening = null;
}
