import type { Classification } from '../sql/types.ts';
import { decodeExecute, queryTextEnd } from '../wire/decode.ts';
import { FLUSH, readyForQuery, SYNC } from '../wire/encode.ts';
import { readyStatus } from '../routing/transaction.ts';
import type { Entry } from './exchange.ts';
import { answerLocally } from './local.ts';
import { answerOwnUnit } from './own-answers.ts';
import { mergePlans, OPAQUE_PLAN } from './plan.ts';
import { mayStillLead } from './release.ts';
import { sendEntry } from './send.ts';
import type { Session } from './session.ts';
import { mention } from './sql-statements.ts';
import { startUnit } from './start.ts';
import { addExtended } from './extended.ts';
import { dropUnnamed, simpleUnit, SYNC_ENTRY, Unit } from './unit.ts';

export const QUERY = 0x51;
const SYNC_TYPE = 0x53;
const EXECUTE = 0x45;
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
  session.watch.onMessage(session.transaction.kind === 'idle');
  switch (type) {
    case COPY_DATA:
    case COPY_DONE:
    case COPY_FAIL:
      return; // what is left of a COPY that failed
    case QUERY:
      onQuery(session, buffer, start, end);
      return;
    case CALL:
      onCall(session, buffer.subarray(start, end));
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
    mention(gathered, classification, session.statements);
    const undo = dropUnnamed(session.statements);
    gathered.add({ ...queryEntry(message, 'query', gathered.plan.tracked ? classification : null), undo });
    gathered.complete = true;
    begin(session, gathered);
    return;
  }
  const classification = session.classify(buffer.subarray(start + 5, queryTextEnd(buffer, start + 5, end)));
  session.statements.unnamed = null;
  session.statements.unnamedPortal = null;
  const unit = simpleUnit(message, classification);
  if (!answerLocally(session, unit)) begin(session, unit);
}

export function queryEntry(
  bytes: Buffer,
  kind: 'query' | 'call' = 'query',
  tracked: Classification | null = null,
): Entry {
  return { kind, bytes, swallow: false, prepared: null, name: '', tracked, undo: null };
}

/** Nobody knows what the function does. Behind unsynced messages it follows their unit. */
function onCall(session: Session, bytes: Buffer): void {
  const unit = session.phase === 'gathering' ? (session.unit as Unit) : new Unit();
  unit.plan = mergePlans(unit.plan, OPAQUE_PLAN);
  unit.add(queryEntry(bytes, 'call'));
  unit.complete = true;
  begin(session, unit);
}

function gather(session: Session, message: Buffer): void {
  if (session.phase !== 'gathering') {
    session.unit = new Unit();
    session.phase = 'gathering';
  }
  const unit = session.unit as Unit;
  addExtended(unit, message, session.statements, session.scope);
  if (copiesIn(session, message)) {
    begin(session, unit);
    session.awaitsCopy = true;
  } else if (unit.bytes > session.context.config.maxBufferBytes) begin(session, unit);
}

/**
 * Executes COPY FROM. Its data may follow without a wait, and only the answer tells whether they are data or what the
 * server ignores: what is behind it is read when that is here.
 */
function copiesIn({ statements }: Session, message: Buffer): boolean {
  if (message[0] !== EXECUTE) return false;
  const prepared =
    message[5] === 0
      ? statements.unnamedPortal
      : statements.portals.get(decodeExecute(message, 5, message.length).portal);
  return prepared?.classification.statements[0]?.kind === 'copy-from';
}

function onSync(session: Session): void {
  const unit = session.phase === 'gathering' ? (session.unit as Unit) : new Unit();
  unit.add(SYNC_ENTRY);
  if (!answerLocally(session, unit)) begin(session, unit);
}

function onFlush(session: Session): void {
  if (session.phase !== 'gathering') return;
  const unit = session.unit as Unit;
  if (unit.entries.length === 0 || (unit.plan.own && answerOwnUnit(session, unit))) return;
  if (session.transaction.kind === 'doomed' || unit.entries.some(({ kind }) => kind !== 'local')) {
    begin(session, unit);
    return;
  }
  for (const { bytes } of unit.entries) session.out.send(bytes); // no server has to do with it
  unit.entries.length = 0;
}

/** The unit leaves the gathering state, whatever becomes of it. */
export function begin(session: Session, unit: Unit): void {
  session.requestAt = new Date();
  session.awaitsCopy = false;
  session.activity.begin();
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
    feedQuery(session, unit, type, message);
    return;
  }
  const before = unit.entries.length;
  addExtended(unit, message, session.statements, session.scope);
  if (unit.plan.tracked) session.settings.beginTransaction(); // what it sets is undone if it fails
  for (const entry of unit.entries.splice(before)) sendEntry(session, entry);
  exchange.emitLocals();
  session.awaitsCopy = copiesIn(session, message);
  if (exchange.full || session.awaitsCopy) session.backend?.write(FLUSH);
}

function feedQuery(session: Session, unit: Unit, type: number, message: Buffer): void {
  if (type === CALL) {
    unit.plan = mergePlans(unit.plan, OPAQUE_PLAN);
    sendEntry(session, queryEntry(message, 'call'));
  } else {
    const classification = session.classify(message.subarray(5, queryTextEnd(message, 5, message.length)));
    unit.widen(classification);
    if (unit.plan.tracked) session.settings.beginTransaction();
    const undo = dropUnnamed(session.statements);
    sendEntry(session, { ...queryEntry(message, 'query', unit.plan.tracked ? classification : null), undo });
  }
  session.phase = 'busy';
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
