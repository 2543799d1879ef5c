import { ClientError, LeaseholdError } from '../../common/errors.ts';
import type { Backend } from '../pool/backend.ts';
import { settingsDiff, type SettingsImage } from '../routing/settings-image.ts';
import { MAX_ATTEMPTS } from '../routing/retry.ts';
import { onTransactionEvent } from '../routing/transaction.ts';
import { describe, errorResponse, execute, FLUSH, PARSE_COMPLETE, query } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import { align, alignment } from './align.ts';
import { AFTER_RESET, bringTo } from './settings-restore.ts';
import { asksXid, XID_ENTRY } from './outcome.ts';
import { doom, refuseUnit } from './refuse.ts';
import { losesState, mustForgetSequences } from './sequences.ts';
import { mayStillLead } from './release.ts';
import { ensure, isThere, noteParse, pushOwn, refusalOf, underOwnName, wipesAll } from './send-statements.ts';
import { endsTransaction, needsProbe, renewStatement } from './stale-plans.ts';
import { dropBackend, giveBack } from './give-back.ts';
import { stateLost, transactionLost } from './errors.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * Sends the unit to the session's backend: first what the backend lacks (settings, BEGIN, prepared statements), in the
 * same write, its answers kept from the client.
 */
export function sendUnit(session: Session, unit: Unit, aligned = false): void {
  const backend = session.backend as Backend;
  const outside = session.transaction.kind === 'idle' || session.transaction.kind === 'deferred';
  const image = session.settings.outsideImage;
  if (outside && backend.settings !== image && !applyInOneWrite(session, unit, backend, image)) return;
  if (!aligned && (outside || !isFailed(session)) && !isAligned(session, unit, backend, outside)) return;
  const asks = asksXid(session, unit, backend);
  begin(session, unit, backend);
  const writes: Buffer[] = [];
  if (outside && backend.settings !== image) {
    pushOwnQuery(session, backend, (settingsDiff(backend.settings ?? AFTER_RESET, image) ?? []).join('; '), writes);
    backend.settings = image;
  }
  if (outside && backend.place.role === 'leader' && mustForgetSequences(session, unit, backend)) {
    pushOwnQuery(session, backend, 'DISCARD SEQUENCES', writes);
  }
  if (session.transaction.kind === 'deferred') openDeferred(session, backend, writes);
  else if (outside && unit.plan.tracked) session.settings.beginTransaction(); // what it sets is undone if it fails
  if (asks) {
    backend.unnamedOwner = null;
    session.exchange.push(XID_ENTRY);
    writes.push(XID_ENTRY.bytes);
  }
  for (const entry of unit.entries) pushEntry(session, backend, unit, entry, writes);
  if (!unit.complete && !unit.streamed) writes.push(FLUSH);
  write(session, backend, writes);
  session.phase = unit.complete ? 'busy' : 'open';
  session.exchange.emitLocals();
  if (backend.needsDrain) session.socket.pause();
  if (session.socket.writableNeedDrain) backend.pause();
}

function begin(session: Session, unit: Unit, backend: Backend): void {
  session.flush(); // answers to earlier statements are not part of this one's
  session.unit = unit;
  session.exchange.reset();
  session.passedOn = false;
  session.errored = false;
  session.outcome.beginUnit();
  session.muted = false;
  session.recovery = null;
  session.holding = unit.plan.retryable && unit.complete && !unit.streamed;
  unit.attempts += 1;
  unit.cancelSent = backend.cancelsUnderway > 0; // one for an earlier statement of the transaction
  const { role } = backend.place;
  if (role === 'leader' && unit.plan.mayWrite) session.wrote = true;
  soil(session, unit, backend);
  session.activity.sent(backend.place, unit);
}

/** No session keeps a follower: what READ ONLY transactions leave there (PREPARE, locks, held cursors) ends with them. */
function soil(session: Session, unit: Unit, backend: Backend): void {
  if (unit.plan.runsCode) session.ranCode = true;
  if (unit.plan.pins.length > 0 && backend.place.role === 'follower') backend.soiled = true;
}

/** Whether the settings can go along with the unit (or none are missing). Else they are applied first, and this sends it then. */
function applyInOneWrite(session: Session, unit: Unit, backend: Backend, image: SettingsImage): boolean {
  if (backend.settings !== null) {
    const missing = settingsDiff(backend.settings, image);
    if (missing === null) {
      backend.settings = image;
      return true;
    }
    if (isHarmless(backend.settings, image)) return true;
  }
  sendAfter(session, unit, bringTo(backend, image), false);
  return false;
}

function isFailed(session: Session): boolean {
  return session.transaction.kind === 'open' && session.transaction.failed;
}

/**
 * Whether the SQL-level names in the unit mean there what they should. Else the server is told first, and this sends the unit then.
 * Settings come before: a PREPARE keeps what its constants mean under those that it is given under.
 */
function isAligned(session: Session, unit: Unit, backend: Backend, outside: boolean): boolean {
  const steps = alignment(session, unit, backend);
  if (steps === null) return true;
  const told = (): Promise<void> => align(backend, steps, session.transaction.kind === 'open');
  const image = session.settings.outsideImage;
  const isSet = !outside || backend.settings === image;
  sendAfter(session, unit, isSet ? told() : bringTo(backend, image).then(told), true);
  return false;
}

/** Sends the unit when the server is made ready for it; the client gets the error if that fails. */
function sendAfter(session: Session, unit: Unit, ready: Promise<void>, aligned: boolean): void {
  const backend = session.backend as Backend;
  session.phase = 'placing';
  void ready.then(
    () => {
      if (session.phase === 'closed') dropBackend(session);
      else if (mayStillLead(session, backend)) {
        sendUnit(session, unit, aligned);
        session.readOn(); // the rest of a long message answers nothing until it is whole
      } else session.startAnew(unit); // S5: it waits until that is confirmed again
    },
    (error: unknown) => onNotReady(session, unit, backend, error),
  );
}

function onNotReady(session: Session, unit: Unit, backend: Backend, error: unknown): void {
  const { transaction, pins } = session;
  if (session.phase === 'closed') {
    dropBackend(session);
  } else if (backend.closed && losesState(session)) {
    session.terminate(stateLost(String(error), pins));
  } else if (transaction.kind === 'open') {
    // The transaction has failed, as if the unit itself had; or it was lost with its server.
    if (backend.closed) dropBackend(session);
    if (!backend.closed) session.transaction = { ...transaction, failed: true };
    refuseUnit(session, unit, backend.closed ? doom(session, transactionLost(String(error))) : error);
  } else if (isNotSent(session, error) && ++unit.attempts < MAX_ATTEMPTS) {
    dropBackend(session);
    session.startAnew(unit);
  } else {
    // What is pinned there is worth more than a setting that it does not take.
    const onFollower = backend.place.role === 'follower';
    if (backend.closed || onFollower) dropBackend(session);
    else if (pins.size === 0) giveBack(session);
    leavePass(session);
    if (onFollower && isRefused(session, error)) {
      unit.leaderOnly = true;
      session.startAnew(unit);
    } else {
      refuseUnit(session, unit, error);
    }
  }
}

function leavePass(session: Session): void {
  session.pass?.leave();
  session.pass = null;
}

/**
 * A follower does not take the session's settings: it has not replayed yet what one of them names (a role that was made
 * a moment ago). The leader has, or says the same.
 */
function isRefused(session: Session, error: unknown): boolean {
  const { kind } = session.transaction;
  return error instanceof ClientError && (kind === 'idle' || kind === 'deferred');
}

/** The server went before anything of the client's reached it: whatever the unit is, it can go elsewhere, or be held. */
function isNotSent(session: Session, error: unknown): boolean {
  if (!(error instanceof LeaseholdError) || session.pins.size > 0) return false;
  const { kind } = session.transaction;
  return (
    (kind === 'idle' || kind === 'deferred') && (error.code === 'BACKEND_LOST' || error.code === 'BACKEND_TIMEOUT')
  );
}

/** Settings that every server takes from everybody, and without which a statement would do no harm. */
const HARMLESS = new Set([
  'application_name',
  'datestyle',
  'extra_float_digits',
  'intervalstyle',
  'timezone',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
]);

function isHarmless(from: SettingsImage, to: SettingsImage): boolean {
  for (const [name, setting] of from) if (to.get(name)?.sql !== setting.sql && !HARMLESS.has(name)) return false;
  for (const [name, setting] of to) if (from.get(name)?.sql !== setting.sql && !HARMLESS.has(name)) return false;
  return true;
}

function openDeferred(session: Session, backend: Backend, writes: Buffer[]): void {
  if (session.transaction.kind !== 'deferred') return;
  session.opening = session.transaction;
  pushOwnQuery(session, backend, session.transaction.sql.join('; '), writes);
  session.transaction = onTransactionEvent(session.transaction, { type: 'opened', node: backend.place.node });
  session.settings.beginTransaction();
}

function pushOwnQuery(session: Session, backend: Backend, sql: string, writes: Buffer[]): void {
  if (sql === '') return;
  backend.unnamedOwner = null;
  pushOwn(session, 'query', query(sql), null, writes);
}

/** More of a unit that is on its server already. */
export function sendEntry(session: Session, entry: Entry): void {
  const backend = session.backend as Backend;
  const writes: Buffer[] = [];
  pushEntry(session, backend, session.unit as Unit, entry, writes);
  if (backend.place.role === 'leader' && session.unit?.plan.mayWrite === true) session.wrote = true;
  soil(session, session.unit as Unit, backend);
  write(session, backend, writes);
  if (backend.needsDrain) session.socket.pause();
}

function write(session: Session, backend: Backend, writes: readonly Buffer[]): void {
  if (writes.length === 0) return;
  if (backend.refuses) return; // its loss is about to be told, and nothing of this was sent
  if (backend.writeAll(writes)) session.outcome.sent = true;
}

/** As a server says it that has kept the statement: JDBC's driver and asyncpg prepare anew when they hear it from this routine. */
const CHANGED = errorResponse(
  new ClientError({
    sqlState: '0A000',
    message: 'cached plan must not change result type',
    source: { file: 'plancache.c', line: 722, routine: 'RevalidateCachedQuery' },
  }),
);
/** A portal that no client names: executing it fails, and that is what it is for. */
const CERTAIN_FAILURE = execute('leasehold: no such portal');

function pushEntry(session: Session, backend: Backend, unit: Unit, given: Entry, writes: Buffer[]): void {
  const { exchange } = session;
  const entry = unit.plan.listsStatements && !isFailed(session) ? underOwnName(given, backend) : given;
  const { kind, prepared } = entry;
  if (kind === 'local') {
    exchange.push(entry);
    return;
  }
  if (prepared !== null && unit.changed?.includes(prepared) === true) {
    backend.statements.unknown = true; // it has the new one under a name that means the old one to others
    renewStatement(session, prepared, null);
    unit.changed = null;
    exchange.push({ ...entry, kind: 'fail', bytes: CHANGED, prepared: null });
    writes.push(CERTAIN_FAILURE);
    return;
  }
  if (kind === 'fail') {
    exchange.push(entry);
    writes.push(CERTAIN_FAILURE);
    return;
  }
  if (kind === 'query') {
    backend.unnamedOwner = null; // a simple query drops the unnamed statement
  } else if (kind === 'parse' && prepared !== null) {
    if (isThere(backend, prepared)) {
      if (isFailed(session) && !endsTransaction(prepared)) {
        exchange.push({ ...entry, prepared: null }); // the server will refuse it
        writes.push(entry.bytes);
        return;
      }
      exchange.push({ ...entry, kind: 'local', bytes: PARSE_COMPLETE });
      if (needsProbe(session, unit, prepared))
        pushOwn(session, 'describe', describe('S', prepared.serverName), prepared, writes);
      return;
    }
    noteParse(session, backend, prepared, writes);
  } else if (prepared !== null) {
    const refusal = isFailed(session) ? refusalOf(entry, backend) : null;
    if (refusal !== null) {
      exchange.push({ ...entry, kind: 'fail', bytes: refusal, prepared: null });
      writes.push(CERTAIN_FAILURE);
      return;
    }
    ensure(session, backend, prepared, writes);
  }
  if (kind === 'execute' && entry.tracked !== null && wipesAll(entry.tracked)) {
    backend.statements.clear(); // for what follows in this unit
    backend.statements.unknown = true; // until it is done: perhaps it is never carried out
  }
  exchange.push(entry);
  writes.push(entry.bytes);
}
