import { onTransactionEvent } from '../routing/transaction.ts';
import { decodeErrorFields } from '../wire/decode.ts';
import { readyForQuery } from '../wire/encode.ts';
import type { Backend, BackendLoss } from '../pool/backend.ts';
import { isInDoubt, isTagInDoubt, tellInDoubt } from './cancel.ts';
import { stateLost, lossReason } from './errors.ts';
import type { Entry } from './exchange.ts';
import { decide, afterDropped, afterLossInFlight, afterLossBetween } from './recovery.ts';
import { dropBackend, giveBack } from './give-back.ts';
import type { Prepared } from './prepared.ts';
import { releaseAfterUnit } from './release.ts';
import { bringTo } from './settings-restore.ts';
import { XID_ENTRY } from './outcome.ts';
import type { Session } from './session.ts';
import { onTransactionEnd } from './transaction-end.ts';

const PARAMETER_STATUS = 0x53;
const NOTICE = 0x4e;
const NOTIFICATION = 0x41;
const COMMAND_COMPLETE = 0x43;

/** One message (or the first part of one) of the session's server. */
export function onAnswer(session: Session, type: number, buffer: Buffer, start: number, end: number): void {
  if (type === PARAMETER_STATUS) return; // told before ReadyForQuery
  if (type === NOTICE || type === NOTIFICATION) {
    onAside(session, type, buffer, start, end);
    return;
  }
  const { exchange } = session;
  const entry = exchange.head;
  if (entry === undefined) {
    // Between units only the end of the connection announces itself, and that is told by its loss.
    if (type !== 0x45) session.backend?.lose('the server spoke unasked');
    return;
  }
  switch (exchange.onAnswer(type, buffer, start, end)) {
    case 'forward':
      if (session.recovery !== null || session.muted) break;
      if (type === COMMAND_COMPLETE && isTagInDoubt(session, entry, buffer, start, end)) {
        tellInDoubt(session, 'It was cancelled, perhaps while it waited for synchronous followers');
        break;
      }
      if (session.holding && !isPreliminary(type)) session.holding = false;
      session.out.relay(buffer, start, end);
      break;
    case 'swallow':
      if (entry === XID_ENTRY && type === 0x44) session.outcome.note(buffer, start);
      break;
    case 'error':
      onServerError(session, entry, buffer, start, end);
      break;
    case 'ready':
      onReady(session, entry, buffer, start);
      return;
    case 'violation':
      session.backend?.lose(`the server sent an unexpected message of type ${type}`);
      return;
    default:
  }
  exchange.emitLocals();
}

/** Says nothing yet about whether the statement succeeds: may be dropped, and the unit run again. */
function isPreliminary(type: number): boolean {
  switch (type) {
    case 0x31: // ParseComplete
    case 0x32: // BindComplete
    case 0x33: // CloseComplete
    case 0x54: // RowDescription
    case 0x74: // ParameterDescription
    case 0x6e: // NoData
      return true;
    default:
      return false;
  }
}

/** The function whose warning means: committed here, but nobody knows whether it is anywhere else. */
const SYNC_WAIT_GIVEN_UP = Buffer.from('\0RSyncRepWaitForLSN\0');

function onAside(session: Session, type: number, buffer: Buffer, start: number, end: number): void {
  if (session.recovery !== null || session.muted || session.exchange.head?.swallow === true) return;
  if (type === NOTICE && buffer.subarray(start, end).includes(SYNC_WAIT_GIVEN_UP)) {
    tellInDoubt(session, 'The wait for synchronous followers was cancelled');
    return;
  }
  session.out.relay(buffer, start, end);
}

function onServerError(session: Session, entry: Entry, buffer: Buffer, start: number, end: number): void {
  const fields = decodeErrorFields(buffer, start + 5, end);
  const skipped = session.skipped.splice(0);
  forgetSkippedParses(session, skipped);
  if (fields.severity === 'FATAL' || fields.severity === 'PANIC') return; // the loss of the connection follows
  if (session.recovery !== null || session.muted) return;
  if (entry === XID_ENTRY) session.outcome.failed = true;
  if (entry.swallow && entry.kind === 'query') {
    // BEGIN or a setting failed, and the unit is running without it: stop it, and say that nobody knows.
    session.backend?.lose(`preparing the server failed: ${fields.message}`);
    return;
  }
  const recovery = decide(session, fields);
  if (recovery.kind !== 'pass-on') {
    session.recovery = recovery;
    session.out.discard();
    return;
  }
  session.holding = false;
  session.errored = true;
  for (const each of skipped) each.undo?.();
  readOnToSync(session);
  if (entry.kind === 'fail') session.out.send(entry.bytes);
  else session.out.relay(buffer, start, end);
  if (fields.routine === 'RevalidateCachedQuery' && entry.prepared !== null && entry.prepared.serverName !== '') {
    renewStatement(session, entry.prepared);
  }
}

/** The server ignores everything up to a Sync: if that has not come yet, the client's input must be read for it. */
function readOnToSync(session: Session): void {
  const { exchange, phase, unit } = session;
  if (exchange.skipping && phase !== 'closed') {
    session.phase = 'open';
    if (unit !== null) unit.complete = false;
  } else if (phase === 'copy-in') {
    session.phase = 'busy';
  }
}

function forgetSkippedParses(session: Session, skipped: readonly Entry[]): void {
  const { backend } = session;
  for (const { kind, prepared } of skipped) {
    if (kind !== 'parse' || prepared === null || backend === null) continue;
    if (prepared.serverName !== '') backend.statements.delete(prepared.serverName);
    else backend.unnamedOwner = null;
  }
}

/**
 * Its result type changed under DDL, and every server that has it refuses it. The session may have prepared it after the DDL, and
 * the proxy answered from what was there: its next try makes it anew.
 */
function renewStatement(session: Session, prepared: Prepared): void {
  const { named } = session.statements;
  const renewed = session.context.statements.renew(session.client.database, prepared);
  for (const [name, each] of named) if (each === prepared) named.set(name, renewed);
}

function onReady(session: Session, entry: Entry, buffer: Buffer, start: number): void {
  const backend = session.backend as Backend;
  const status = buffer[start + 5] === 0x49 ? 'I' : buffer[start + 5] === 0x45 ? 'E' : 'T';
  if (entry.swallow) {
    session.exchange.emitLocals();
    return;
  }
  if (session.recovery !== null) {
    afterDropped(session, status);
    return;
  }
  if (status === 'I' && isInDoubt(session)) {
    tellInDoubt(session, 'It was cancelled, perhaps while it waited for synchronous followers');
  }
  session.holding = false;
  session.opening = null;
  const wasOpen = session.transaction;
  session.transaction = onTransactionEvent(wasOpen, { type: 'ready', status, node: backend.place.node });
  noteRead(session, backend);
  notePins(session, backend);
  if (status === 'I') onTransactionEnd(session, backend.place.role === 'leader', !session.errored);
  else onTransactionOpen(session);
  if (status === 'I' && session.resets && session.phase !== 'closed') {
    session.resets = false;
    session.phase = 'placing';
    void restoreSettings(session, backend, status);
    return;
  }
  tellReady(session, backend, status);
}

/** After a RESET: it means the session's start-up parameters, and not the server's defaults. */
async function restoreSettings(session: Session, backend: Backend, status: 'I' | 'T' | 'E'): Promise<void> {
  try {
    await bringTo(backend, session.settings.image);
  } catch (error) {
    session.context.logger.warn({ event: 'settings.not-restored', error: String(error) }, 'settings not restored');
    if (backend.closed && session.pins.size > 0) session.terminate(stateLost(String(error), session.pins));
  }
  if (session.backend === backend) tellReady(session, backend, status);
}

function tellReady(session: Session, backend: Backend, status: 'I' | 'T' | 'E'): void {
  session.tellParameters(backend);
  if (session.phase !== 'closed') session.out.send(readyForQuery(status));
  endUnit(session, status);
}

function onTransactionOpen(session: Session): void {
  session.settings.beginTransaction();
  const { unit } = session;
  // It may be another transaction than before: COMMIT AND CHAIN, or a text with COMMIT and BEGIN in it.
  if (unit === null || unit.streamed || unit.plan.committing || unit.plan.unread) session.outcome.forget();
}

function noteRead(session: Session, backend: Backend): void {
  session.floor.lastReadAtMs = session.context.clock.nowMs();
  session.floor.lastNode = backend.place.node;
}

function notePins(session: Session, backend: Backend): void {
  const plan = session.unit?.plan;
  if (plan === undefined) return;
  if (backend.place.role === 'leader') {
    // A lock of the session outlives the failure of the statement that took it.
    for (const pin of plan.pins) if (!session.errored || pin === 'advisory-lock') session.pins.add(pin);
  }
  if (!plan.ddl) return;
  session.changedSchema = true;
  session.context.statements.forgetDatabase(session.client.database); // for the rest of its transaction
}

function endUnit(session: Session, status: 'I' | 'T' | 'E'): void {
  const closed = session.phase === 'closed';
  if (!closed) session.phase = 'idle';
  session.flush();
  if (status === 'I') {
    if (closed) {
      if (session.pins.size > 0) dropBackend(session);
      session.pass?.leave();
      session.pass = null;
      giveBack(session);
      return;
    }
    releaseAfterUnit(session);
    if (session.draining !== null && session.phase === 'idle') {
      session.terminate(session.draining);
      return;
    }
  } else if (closed) {
    dropBackend(session);
    return;
  }
  if (session.phase === 'idle') {
    session.unit = null;
    session.readOn();
  }
}

/** The session's server is gone. */
export function onLost(session: Session, loss: BackendLoss): void {
  const reason = lossReason(loss);
  const inFlight = !session.exchange.done || session.phase === 'open' || session.phase === 'copy-in';
  const backend = session.backend;
  session.backend = null;
  session.pool = null;
  session.pass?.leave();
  session.pass = null;
  session.skipped.length = 0;
  if (session.floor.lastNode === backend?.place.node) session.floor.lastNode = null;
  if (session.phase === 'closed') return;
  if (session.pins.size > 0) {
    session.terminate(stateLost(reason, session.pins));
    return;
  }
  if (inFlight && backend !== null) afterLossInFlight(session, backend, loss);
  else afterLossBetween(session, reason);
}
