import { ClientError, LeaseholdError } from '../../common/errors.ts';
import type { BackendLoss } from '../pool/backend.ts';
import type { ErrorFields } from '../wire/decode.ts';

/** The transaction died before its COMMIT was sent: it provably did not commit. */
export function transactionLost(reason: string): ClientError {
  return new ClientError({
    sqlState: '40001',
    message: 'the transaction was lost with its server, and was rolled back',
    detail: `${reason}.`,
    hint: 'The session lives on. Run the transaction again from its beginning.',
    safeToRetry: true,
  });
}

/** A read whose answer had begun, or that was tried on several nodes in vain. */
export function readLost(reason: string): ClientError {
  return new ClientError({
    sqlState: '40001',
    message: 'the server was lost while it answered the statement',
    detail: `${reason}.`,
    hint: 'The statement changed nothing. Run it again.',
    safeToRetry: true,
  });
}

/** A write that its server broke off before it was complete. */
export function statementUndone(reason: string): ClientError {
  return new ClientError({
    sqlState: '40001',
    message: 'the server was lost before it completed the statement, which was rolled back',
    detail: `${reason}.`,
    hint: 'The session lives on. Run the statement again.',
    safeToRetry: true,
  });
}

/** A write or a COMMIT was sent, and no answer came (S7). */
export function outcomeUnknown(reason: string): ClientError {
  return new ClientError({
    sqlState: '08007',
    message: 'the server was lost before it answered: whether the statement took effect is unknown',
    detail: `${reason}.`,
    hint: 'Do not simply repeat it: look first whether its effects are there.',
  });
}

/** Asked for in the midst of a transaction that has read on a follower already. */
export function onFollower(what: string): ClientError {
  return new ClientError({
    sqlState: '0A000',
    message: `a READ ONLY transaction that has begun on a follower cannot have ${what}`,
    hint: 'Make it the first statement of the transaction, or begin that with READ WRITE: then the leader runs all of it.',
  });
}

export function inFailedTransaction(): ClientError {
  return new ClientError({
    sqlState: '25P02',
    message: 'current transaction is aborted, commands ignored until end of transaction block',
  });
}

export function cancelled(): ClientError {
  return new ClientError({ sqlState: '57014', message: 'canceling statement due to user request', safeToRetry: true });
}

export function shuttingDown(): ClientError {
  return new ClientError({
    sqlState: '57P01',
    severity: 'FATAL',
    message: 'terminating connection because this proxy is shutting down',
    hint: 'Connect again: another proxy of the cluster may answer.',
  });
}

/** `fatal`: what the server itself said before it ended the connection, which is then said to the client too. */
export function stateLost(reason: string, pins: Iterable<string>, fatal: ErrorFields | null = null): ClientError {
  const gone = `what this session kept on its server is gone (${[...pins].join(', ')})`;
  return new ClientError({
    sqlState: fatal?.sqlState ?? '57P01',
    severity: 'FATAL',
    message: fatal?.message ?? `terminating connection: ${gone}`,
    detail: fatal === null ? `${reason}.` : `${reason}: ${gone}.`,
    hint: 'Connect again and make it anew.',
  });
}

/** Why no server could be had, as a client should see it. */
export function asClientError(error: unknown): ClientError {
  if (error instanceof ClientError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof LeaseholdError && error.code.startsWith('BACKEND_')) {
    return new ClientError({ sqlState: '08006', message, safeToRetry: true, cause: error });
  }
  return new ClientError({ sqlState: 'XX000', message: `internal error of the proxy: ${message}`, cause: error });
}

export function lossReason(loss: BackendLoss): string {
  return loss.reason.replace(/\.$/, '');
}

/** The same error, ending the session or not. A server that refuses a *connection* says FATAL; to a session it is an ERROR. */
export function withSeverity(error: ClientError, severity: 'ERROR' | 'FATAL'): ClientError {
  if (error.severity === severity) return error;
  const { sqlState, message, detail, hint, safeToRetry } = error;
  return new ClientError({
    sqlState,
    severity,
    message,
    safeToRetry,
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  });
}
