import type { Backend, BackendLoss } from '../pool/backend.ts';
import type { ClientError } from '../../common/errors.ts';
import { type Failure, type Recovery, recoveryOf } from '../routing/retry.ts';
import { DOOMED, onTransactionEvent } from '../routing/transaction.ts';
import type { ErrorFields } from '../wire/decode.ts';
import { lossReason, outcomeUnknown, readLost, statementUndone, transactionLost } from './errors.ts';
import { doom, forgetTransaction, report } from './refuse.ts';
import { dropBackend, giveBack } from './give-back.ts';
import { answerLocally } from './local.ts';
import { isPlainCommit, onlyRollsBack, provenBy } from './outcome.ts';
import { resolveCommit } from './resolve-commit.ts';

import { losesState } from './sequences.ts';
import type { Session } from './session.ts';
import { renewStatement } from './stale-plans.ts';
import { startUnit } from './start.ts';
import { reclassify, Unit } from './unit.ts';

const PASS_ON: Recovery = { kind: 'pass-on' };

/** A server's error to a statement: the client's, or a reason to run the unit elsewhere. */
export function decide(session: Session, error: ErrorFields): Recovery {
  const { unit, backend } = session;
  if (unit === null || backend === null || backend.place.role === 'leader') return PASS_ON;
  const { severity, sqlState, file, routine } = error;
  return recoveryOf({
    ...failureOf(session, unit, backend),
    error: { severity, sqlState, file: file === '' ? null : file, routine: routine === '' ? null : routine },
  });
}

function failureOf(session: Session, unit: Unit, backend: Backend): Omit<Failure, 'error'> {
  const repeatable = unit.plan.retryable && unit.complete && !unit.streamed;
  return {
    work: repeatable ? 'read' : 'write',
    role: backend.place.role,
    transaction: transactionOf(session, unit),
    sent: true,
    undone: false,
    passedOn: session.passedOn,
    attempts: unit.attempts,
  };
}

function transactionOf(session: Session, unit: Unit): Failure['transaction'] {
  if (unit.plan.committing) return 'committing';
  if (session.opening !== null) return 'opening';
  if (session.transaction.kind === 'open') return 'open';
  return unit.plan.begin === null ? 'none' : 'opening';
}

/** The answer that was dropped has ended: the unit may run again. */
export function afterDropped(session: Session, status: 'I' | 'T' | 'E'): void {
  const recovery = session.recovery as Recovery;
  const unit = session.unit as Unit;
  const { backend } = session;
  const { metrics, classifier } = session.context;
  const { stale } = session;
  if (stale !== null) {
    session.stale = null;
    renewStatement(session, stale, unit);
  } else if (backend !== null) {
    unit.avoid(backend.place.node);
  }
  if (status !== 'I') dropBackend(session);
  else if (session.pins.size === 0) giveBack(session);
  session.pass?.leave();
  session.pass = null;
  if (session.phase === 'closed') return;
  if (recovery.kind === 'retry-on-leader') {
    unit.leaderOnly = true;
    if (recovery.learn && unit.key !== null) learn(session, unit, unit.key, (key) => classifier.learnWrite(key));
  }
  metrics.retried(
    stale !== null ? 'other' : recovery.kind === 'retry-on-leader' ? 'learned-write' : 'recovery-conflict',
  );
  again(session, unit);
}

function learn(session: Session, unit: Unit, key: string, learnWrite: (key: string) => void): void {
  learnWrite(key);
  for (const { prepared } of unit.entries) if (prepared !== null) reclassify(prepared, session.scope);
  for (const name of unit.plan.executes ?? []) {
    const prepared = session.statements.named.get(name);
    if (prepared !== undefined) reclassify(prepared, session.scope);
  }
}

/** The same unit from its beginning, on whatever server is right now. */
function again(session: Session, unit: Unit): void {
  session.recovery = null;
  session.exchange.reset();
  session.out.discard();
  if (session.opening === null) {
    session.settings.endTransaction(false);
  } else {
    session.transaction = session.opening;
    session.opening = null;
    session.settings.restartTransaction();
  }
  startUnit(session, unit);
}

export function afterLossInFlight(session: Session, backend: Backend, loss: BackendLoss): void {
  const reason = lossReason(loss);
  const unit = session.unit ?? new Unit();
  unit.avoid(backend.place.node);
  if (backend.insideMessage && session.passedOn) {
    session.close(); // half a message reached the client: nothing sensible can follow it
    return;
  }
  if (session.recovery !== null) {
    session.context.metrics.retried('connection-lost');
    if (session.recovery.kind === 'retry-on-leader') unit.leaderOnly = true;
    again(session, unit);
    return;
  }
  if (rolledBack(session, unit)) return;
  const proof = provenBy(session, unit, loss);
  const sent = proof !== 'not-run' && (session.outcome.sent || unit.streamed || !unit.complete);
  const undone = proof === 'undone' || leavesNothing(session, unit, backend);
  const recovery = recoveryOf({ ...failureOf(session, unit, backend), sent, undone, error: null });
  if (recovery.kind === 'retry-elsewhere' || recovery.kind === 'again' || recovery.kind === 'retry-on-leader') {
    session.context.metrics.retried('connection-lost');
    again(session, unit);
    return;
  }
  if (!session.passedOn) session.out.discard();
  const known = recovery.kind === 'report' && recovery.sqlState === '40001';
  if (!known && resolves(session, unit, backend, reason)) return;
  reportLoss(session, unit, reason, known);
}

/**
 * What runs is ended by the proxy, with its connection: nothing is cancelled, and the server rolls back what it has not begun to
 * commit. `error` must be true whatever becomes of that.
 */
export function endInFlight(session: Session, error: ClientError): void {
  const { backend } = session;
  const unit = session.unit ?? new Unit();
  if (losesState(session) || session.muted || (backend?.insideMessage === true && session.passedOn)) {
    session.terminate(error);
    return;
  }
  if (!session.passedOn) session.out.discard();
  session.recovery = null;
  session.skipped.length = 0;
  dropBackend(session);
  if (rolledBack(session, unit)) return;
  const kind = transactionOf(session, unit);
  if (kind === 'none' || kind === 'committing') {
    forgetTransaction(session);
  } else {
    doom(session, error);
    session.opening = null;
    session.wrote = false;
  }
  report(session, unit, error, session.passedOn ? session.exchange.pending() : unit.entries);
}

/** A transaction that was being rolled back is rolled back, and the client is told so. */
function rolledBack(session: Session, unit: Unit): boolean {
  if (session.passedOn || session.muted || !onlyRollsBack(session, unit)) return false;
  session.out.discard();
  session.exchange.reset();
  session.transaction = DOOMED;
  session.phase = 'idle';
  session.unit = null;
  answerLocally(session, unit);
  session.outcome.forget();
  session.flush();
  session.readOn();
  return true;
}

/** COMMIT of what can have written nothing, or that a failed statement came before. */
function leavesNothing(session: Session, unit: Unit, backend: Backend): boolean {
  if (!unit.plan.committing || session.transaction.kind !== 'open') return false;
  const { outcome } = session;
  return backend.place.role === 'follower' || outcome.failed || (outcome.unassigned && !session.wrote);
}

function resolves(session: Session, unit: Unit, backend: Backend, reason: string): boolean {
  const { outcome, exchange } = session;
  const { term } = backend.place;
  if (session.muted || session.errored || outcome.completed > 0) return false; // it was told something already
  if (outcome.xid === null || term === null || session.transaction.kind !== 'open' || !isPlainCommit(unit))
    return false;
  if (session.passedOn && exchange.head?.kind === 'describe') return false; // perhaps half of its answer is out
  const unheard = session.passedOn ? exchange.pending() : unit.entries;
  resolveCommit(session, unit, { term, xid: outcome.xid, reason, unheard });
  return true;
}

function reportLoss(session: Session, unit: Unit, reason: string, undone: boolean): void {
  const kind = transactionOf(session, unit);
  const unheard = session.passedOn ? session.exchange.pending() : unit.entries;
  if (kind === 'none' || kind === 'committing') {
    forgetTransaction(session);
    const error = undone ? undoneError(unit, kind, reason) : outcomeUnknown(reason);
    report(session, unit, error, unheard);
    return;
  }
  const error = doom(session, transactionLost(reason));
  session.opening = null;
  session.wrote = false;
  report(session, unit, error, unheard);
}

function undoneError(unit: Unit, kind: 'none' | 'committing', reason: string): ClientError {
  if (kind === 'committing') return transactionLost(reason);
  return unit.plan.retryable ? readLost(reason) : statementUndone(reason);
}

/** Lost while the client was not waiting for anything: it learns of it with its next statement. */
export function afterLossBetween(session: Session, reason: string): void {
  const before = session.transaction;
  session.transaction = onTransactionEvent(before, { type: 'lost' });
  session.wrote = false;
  if (before.kind !== 'open') return;
  // A transaction that had failed has nothing more to lose, and its client knows.
  if (!before.failed) session.doom = { error: transactionLost(reason), told: false };
}
