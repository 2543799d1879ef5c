import { decodeErrorFields } from '../wire/decode.ts';
import { errorResponse, withName } from '../wire/encode.ts';
import { COMMAND_COMPLETE, ERROR, NOTICE, NOTIFICATION, PARAMETER_STATUS } from '../wire/message-types.ts';
import type { Recovery } from '../routing/retry.ts';
import type { BackendLoss } from '../pool/backend.ts';
import { isTagInDoubt, tellInDoubt } from './cancel.ts';
import { columnsOf } from './described.ts';
import type { Prepared } from './prepared.ts';
import { stateLost, lossReason } from './errors.ts';
import type { Entry } from './exchange.ts';
import { decide, afterLossInFlight, afterLossBetween } from './recovery.ts';
import { onReady } from './ready.ts';
import { meetsStalePlan, renewStatement } from './stale-plans.ts';
import { XID_ENTRY } from './outcome.ts';
import { losesState } from './sequences.ts';
import type { Session } from './session.ts';

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
    if (type !== ERROR) session.backend?.lose('the server spoke unasked');
    return;
  }
  switch (exchange.onAnswer(type, buffer, start, end)) {
    case 'forward':
      if (session.recovery !== null || session.muted) break;
      if (type === COMMAND_COMPLETE && isTagInDoubt(session, entry, buffer, start, end)) {
        tellInDoubt(session, 'It was cancelled, perhaps while it waited for synchronous followers');
        break;
      }
      if (type === COMMAND_COMPLETE) session.activity.completed(buffer, start, end);
      if (session.holding && !isPreliminary(type)) session.holding = false;
      if (isDescription(type) && entry.kind === 'describe' && entry.prepared !== null)
        noteColumns(entry.prepared, buffer, start, end);
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

function isDescription(type: number): boolean {
  return type === 0x54 || type === 0x6e; // RowDescription, NoData
}

function noteColumns(prepared: Prepared, buffer: Buffer, start: number, end: number): void {
  if (prepared.serverName !== '' && prepared.sql === null) prepared.told ??= columnsOf(buffer, start, end);
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
  if (type === NOTIFICATION) {
    notify(session, buffer, start, end);
    return;
  }
  if (session.recovery !== null || session.muted || session.exchange.head?.swallow === true) return;
  if (buffer.subarray(start, end).includes(SYNC_WAIT_GIVEN_UP)) {
    tellInDoubt(session, 'The wait for synchronous followers was cancelled');
    return;
  }
  session.out.relay(buffer, start, end);
}

/** It belongs to no unit, and is not forgotten with the answer of one that runs again. */
function notify(session: Session, buffer: Buffer, start: number, end: number): void {
  if (session.phase === 'closed') return;
  const { recovery, muted, holding, passedOn, out } = session;
  if (recovery !== null || muted || (holding && !passedOn)) out.overtake(buffer, start, end);
  else out.relay(buffer, start, end);
}

const AGAIN: Recovery = { kind: 'again' };

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
  if (meetsStalePlan(session, entry, fields)) {
    session.stale = entry.prepared;
    session.recovery = AGAIN;
    session.out.discard();
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
  session.context.metrics.serverError(fields.sqlState);
  for (const each of skipped.toReversed()) each.undo?.();
  // A server drops the old unnamed statement before it reads the new one.
  if (entry.kind === 'parse' && entry.prepared?.serverName === '') session.statements.unnamed = null;
  if (entry.kind === 'bind') entry.undo?.();
  readOnToSync(session);
  if (entry.kind === 'fail') session.out.send(entry.bytes);
  else if (fields.sqlState === '57014' && session.unit?.timeout) session.out.send(errorResponse(session.unit.timeout));
  else relayError(session, entry, buffer, start, end);
  const { prepared } = entry;
  if (fields.routine === 'RevalidateCachedQuery' && prepared?.sql === null && prepared.serverName !== '') {
    renewStatement(session, prepared, null); // its next try makes it anew
  }
}

/** A client knows its statement by the name that it gave. */
function relayError(session: Session, entry: Entry, buffer: Buffer, start: number, end: number): void {
  const { prepared } = entry;
  const named = prepared !== null && prepared.serverName !== '' && prepared.sql === null;
  if (!named || !buffer.subarray(start, end).includes(`"${prepared.serverName}"`)) {
    session.out.relay(buffer, start, end);
    return;
  }
  session.out.send(withName(buffer.subarray(start, end), `"${prepared.serverName}"`, `"${entry.name}"`));
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

/** The session's server is gone. */
export function onLost(session: Session, loss: BackendLoss): void {
  const reason = lossReason(loss);
  const inFlight = !session.exchange.done || session.phase === 'open' || session.phase === 'copy-in';
  const backend = session.backend;
  session.backend = null;
  session.pool = null;
  session.copyPart = false;
  session.pass?.leave();
  session.pass = null;
  session.skipped.length = 0;
  if (session.floor.lastNode === backend?.place.node) session.floor.lastNode = null;
  if (session.phase === 'closed') return;
  if (losesState(session)) {
    session.terminate(stateLost(reason, session.pins, loss.fatal));
    return;
  }
  // A unit that waits to be sent there (`placeAgain`) is started anew.
  session.waiting?.abort(new Error(reason));
  if (inFlight && backend !== null) afterLossInFlight(session, backend, loss);
  else afterLossBetween(session, reason);
}
