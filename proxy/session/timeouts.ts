import type { SessionTimeouts } from '../../common/config/scoped.ts';
import type { ClientError } from '../../common/errors.ts';
import { endInFlight } from './recovery.ts';
import type { Session } from './session.ts';
import {
  clientIdleTooLong,
  commitTooLong,
  idleInTransactionTooLong,
  queryTooLong,
  transactionTooLong,
  writeTooLong,
} from './timeout-errors.ts';
import type { Activity } from './watch.ts';

/** How long a server may take to obey a cancel before its connection is given up. */
export const CANCEL_GRACE_MS = 5_000;

/** Looks at one session, and ends what has lasted too long. Called from time to time, never by a timer of its own. */
export function checkTimeouts(session: Session, nowMs: number): void {
  if (session.phase === 'closed') return;
  const limits = session.scoped.timeouts;
  const { watch } = session;
  const state = activityOf(session);
  // A sequence without its Sync is a transaction too.
  const open = session.transaction.kind !== 'idle' || session.phase === 'open';
  watch.look(state, open || state === 'running', nowMs);
  const stateMs = watch.stateMs(nowMs);
  if (state === 'running' && isOver(stateMs, limits.queryTimeoutMs)) {
    onQueryTimeout(session, queryTooLong(limits.queryTimeoutMs), stateMs - limits.queryTimeoutMs);
  } else if (isOver(watch.transactionMs(nowMs), limits.transactionTimeoutMs)) {
    onTransactionTimeout(session, limits, watch.transactionMs(nowMs), state);
  } else if (state === 'idle' && open && isOver(stateMs, limits.idleTransactionTimeoutMs)) {
    session.terminate(idleInTransactionTooLong(limits.idleTransactionTimeoutMs));
  } else if (state === 'idle' && !open && isOver(stateMs, limits.clientIdleTimeoutMs)) {
    session.terminate(clientIdleTooLong(limits.clientIdleTimeoutMs));
  }
}

/** A statement that is carried out though its client has gone (`abandon`): nobody is told, but it lasts no longer than for others. */
export function checkAbandoned(session: Session, nowMs: number): void {
  const { unit, watch, backend } = session;
  if (unit === null || backend === null || mayCommit(session)) return;
  watch.look('running', true, nowMs);
  const { queryTimeoutMs } = session.scoped.timeouts;
  const overMs = watch.stateMs(nowMs) - queryTimeoutMs;
  if (queryTimeoutMs === 0 || overMs < 0) return;
  if (unit.timeout === null) {
    unit.timeout = queryTooLong(queryTimeoutMs);
    backend.sendCancel();
  } else if (overMs >= CANCEL_GRACE_MS) backend.lose('it did not obey a cancel');
}

function isOver(ms: number, limitMs: number): boolean {
  return limitMs > 0 && ms >= limitMs;
}

function activityOf(session: Session): Activity {
  if (session.waiting !== null) return 'waiting'; // also while it is being introduced to its first server
  switch (session.phase) {
    case 'busy':
    case 'copy-in':
      return 'running';
    case 'open':
      return session.exchange.done ? 'idle' : 'running';
    case 'placing':
      return 'waiting';
    default:
      return 'idle';
  }
}

/** Cancelled, and the client is told why; where the server does not obey, its connection is given up. */
function onQueryTimeout(session: Session, error: ClientError, overMs: number): void {
  const { unit } = session;
  if (unit === null) return;
  if (mayCommit(session)) {
    // Nothing is cancelled: it may be waiting for followers, with the commit on the leader's disk (S7).
    endInFlight(session, commitTooLong(error));
    return;
  }
  if (unit.timeout === null) {
    unit.timeout = error;
    unit.cancelSent = true;
    session.backend?.sendCancel();
  } else if (overMs >= CANCEL_GRACE_MS) {
    const unknown = session.transaction.kind === 'idle' && !unit.plan.retryable;
    endInFlight(session, unknown ? writeTooLong(error) : unit.timeout);
  }
}

function onTransactionTimeout(session: Session, limits: SessionTimeouts, ms: number, state: Activity): void {
  const error = transactionTooLong(limits.transactionTimeoutMs);
  if (state === 'running') {
    if (mayCommit(session)) return; // it is ending; how long that takes is the time-out of a query's
    if (session.transaction.kind === 'idle') {
      onQueryTimeout(session, error, ms - limits.transactionTimeoutMs);
      return;
    }
  }
  session.terminate(error);
}

/** What runs ends a transaction, or nobody knows that it does not. */
function mayCommit(session: Session): boolean {
  const plan = session.unit?.plan;
  return plan !== undefined && (plan.committing || plan.unread);
}
