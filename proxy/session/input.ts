import { queryTextEnd } from '../wire/decode.ts';
import { FLUSH, readyForQuery, SYNC } from '../wire/encode.ts';
import { readyStatus } from '../routing/transaction.ts';
import type { Entry } from './exchange.ts';
import { answerLocally } from './local.ts';
import { answerOwnUnit } from './own-answers.ts';
import { OPAQUE_PLAN } from './plan.ts';
import { mayStillLead } from './release.ts';
import { sendEntry } from './send.ts';
import type { Session } from './session.ts';
import { startUnit } from './start.ts';
import { addExtended, simpleUnit, SYNC_ENTRY, Unit } from './unit.ts';

export const QUERY = 0x51;
const SYNC_TYPE = 0x53;
const FLUSH_TYPE = 0x48;
const TERMINATE = 0x58;
export const CALL = 0x46;
export const COPY_DATA = 0x64;
const COPY_DONE = 0x63;
const COPY_FAIL = 0x66;

/** One whole message of the client. */
export function onInput(session: Session, type: number, buffer: Buffer, start: number, end: number): void {
  if (session.phase === 'closed') return;
  if (type === TERMINATE) {
    session.close();
    return;
  }
  const { phase } = session;
  if (phase === 'copy-in') onCopyInput(session, type, buffer, start, end);
  else if (phase === 'open') onOpenInput(session, type, buffer.subarray(start, end));
  else if (phase !== 'discarding') onFreeInput(session, type, buffer, start, end);
  else if (type === SYNC_TYPE) endDiscarding(session);
}

/** No unit is in flight: one begins or grows. */
function onFreeInput(session: Session, type: number, buffer: Buffer, start: number, end: number): void {
  switch (type) {
    case COPY_DATA:
    case COPY_DONE:
    case COPY_FAIL:
      return; // what is left of a COPY that failed
    case QUERY:
      onQuery(session, buffer, start, end);
      return;
    case CALL:
      begin(session, opaqueUnit('call', buffer.subarray(start, end)));
      return;
    case FLUSH_TYPE:
      onFlush(session);
      return;
    case SYNC_TYPE:
      onSync(session);
      return;
    default:
      gather(session, buffer.subarray(start, end));
  }
}

function onQuery(session: Session, buffer: Buffer, start: number, end: number): void {
  const message = buffer.subarray(start, end);
  const gathered = session.phase === 'gathering' ? session.unit : null;
  if (gathered !== null) {
    // In the middle of an unsynced sequence: it follows the unit.
    const classification = session.classify(message.subarray(5, queryTextEnd(message, 5, message.length)));
    gathered.widen(classification);
    gathered.add(queryEntry(message));
    gathered.complete = true;
    begin(session, gathered);
    return;
  }
  const classification = session.classify(buffer.subarray(start + 5, queryTextEnd(buffer, start + 5, end)));
  const unit = simpleUnit(message, classification);
  if (!answerLocally(session, unit)) begin(session, unit);
}

export function queryEntry(bytes: Buffer, kind: 'query' | 'call' = 'query'): Entry {
  return { kind, bytes, swallow: false, prepared: null, tracked: null, undo: null };
}

function opaqueUnit(kind: 'query' | 'call', bytes: Buffer): Unit {
  const unit = new Unit();
  unit.plan = OPAQUE_PLAN;
  unit.add(queryEntry(bytes, kind));
  unit.complete = true;
  return unit;
}

function gather(session: Session, message: Buffer): void {
  if (session.phase !== 'gathering') {
    session.unit = new Unit();
    session.phase = 'gathering';
  }
  const unit = session.unit as Unit;
  addExtended(unit, message, session.statements, session.scope);
  if (unit.bytes > session.context.config.maxBufferBytes) begin(session, unit);
}

function onSync(session: Session): void {
  const unit = session.phase === 'gathering' ? (session.unit as Unit) : new Unit();
  unit.add(SYNC_ENTRY);
  if (!answerLocally(session, unit)) begin(session, unit);
}

function onFlush(session: Session): void {
  if (session.phase !== 'gathering') return;
  const unit = session.unit as Unit;
  if (unit.entries.length > 0 && !(unit.plan.own && answerOwnUnit(session, unit))) begin(session, unit);
}

/** The unit leaves the gathering state, whatever becomes of it. */
export function begin(session: Session, unit: Unit): void {
  session.requestAt = new Date();
  startUnit(session, unit);
}

/** A unit is on its server and not ended: what comes goes there too. */
function onOpenInput(session: Session, type: number, message: Buffer): void {
  const { exchange } = session;
  const unit = session.unit as Unit;
  if (type === FLUSH_TYPE) {
    session.backend?.write(FLUSH);
    return;
  }
  if (type === SYNC_TYPE) {
    unit.complete = true;
    unit.streamed = true;
    if (!mayFeed(session)) return;
    exchange.push(SYNC_ENTRY);
    session.backend?.write(SYNC);
    session.phase = 'busy';
    return;
  }
  if (exchange.skipping || type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL) return;
  unit.streamed = true;
  if (type === QUERY || type === CALL) unit.complete = true;
  if (!mayFeed(session)) return;
  if (type === QUERY || type === CALL) {
    sendEntry(session, queryEntry(message, type === CALL ? 'call' : 'query'));
    session.phase = 'busy';
    return;
  }
  const before = unit.entries.length;
  addExtended(unit, message, session.statements, session.scope);
  for (const entry of unit.entries.splice(before)) sendEntry(session, entry);
  exchange.emitLocals();
  if (exchange.full) session.backend?.write(FLUSH);
}

function onCopyInput(session: Session, type: number, buffer: Buffer, start: number, end: number): void {
  if (!mayFeed(session)) return;
  session.backend?.relay(buffer, start, end);
  if (type !== COPY_DONE && type !== COPY_FAIL) return;
  session.exchange.endCopy();
  session.phase = session.exchange.head?.kind === 'query' ? 'busy' : 'open';
}

/**
 * S5 within a unit: nothing more of it goes to a server that may lead no more. Its transaction is given up with it: not
 * worth a wait with half of the unit there.
 */
export function mayFeed(session: Session): boolean {
  const { backend } = session;
  if (backend === null || mayStillLead(session, backend)) return true;
  backend.lose('this proxy could not confirm that the server still leads');
  return false;
}

function endDiscarding(session: Session): void {
  session.out.send(readyForQuery(readyStatus(session.transaction)));
  session.phase = 'idle';
}
