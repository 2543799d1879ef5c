import { ClientError, LeaseholdError } from '../../common/errors.ts';
import type { Backend } from '../pool/backend.ts';
import { settingsDiff, type SettingsImage } from '../routing/settings-image.ts';
import { MAX_ATTEMPTS } from '../routing/retry.ts';
import { onTransactionEvent } from '../routing/transaction.ts';
import { close, execute, FLUSH, PARSE_COMPLETE, query } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import { AFTER_RESET, bringTo } from './settings-restore.ts';
import { asksXid, XID_ENTRY } from './outcome.ts';
import type { Prepared } from './prepared.ts';
import { refuseUnit } from './refuse.ts';
import { mustForgetSequences } from './sequences.ts';
import { dropBackend } from './give-back.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * Sends the unit to the session's backend: first what the backend lacks (settings, BEGIN, prepared statements), in the
 * same write, its answers kept from the client.
 */
export function sendUnit(session: Session, unit: Unit): void {
  const backend = session.backend as Backend;
  const outside = session.transaction.kind === 'idle' || session.transaction.kind === 'deferred';
  const image = session.settings.outsideImage;
  if (outside && backend.settings !== image && !applyInOneWrite(session, unit, backend, image)) return;
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
  prepareDeallocate(session, unit, backend, writes);
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
  session.phase = 'placing';
  void bringTo(backend, image).then(
    () => {
      if (session.phase === 'closed') dropBackend(session);
      else sendUnit(session, unit);
    },
    (error: unknown) => {
      const onFollower = backend.place.role === 'follower';
      // What is kept there is worth more than a setting that it does not take.
      const stays = !onFollower && session.pins.size > 0 && error instanceof ClientError;
      if (stays && session.phase !== 'closed') leavePass(session);
      else dropBackend(session);
      if (session.phase === 'closed') return;
      if (onFollower && isRefused(session, error)) {
        unit.leaderOnly = true;
        session.startAnew(unit);
      } else if (isNotSent(session, error) && ++unit.attempts < MAX_ATTEMPTS) {
        session.startAnew(unit);
      } else refuseUnit(session, unit, error);
    },
  );
  return false;
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
  const bytes = query(sql);
  backend.unnamedOwner = null;
  session.exchange.push({ kind: 'query', bytes, swallow: true, prepared: null, tracked: null, undo: null });
  writes.push(bytes);
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
  if (writes.length === 1) {
    backend.write(writes[0] as Buffer);
  } else {
    backend.cork();
    for (const bytes of writes) backend.write(bytes);
    backend.uncork();
  }
  // A write that the kernel refuses at once took no byte of it.
  if (backend.encrypted || !backend.refuses) session.outcome.sent = true;
}

/** A portal that no client names: executing it fails, and that is what it is for. */
const CERTAIN_FAILURE = execute('leasehold: no such portal');

function pushEntry(session: Session, backend: Backend, unit: Unit, entry: Entry, writes: Buffer[]): void {
  const { exchange } = session;
  const { kind, prepared } = entry;
  if (kind === 'local') {
    exchange.push(entry);
    return;
  }
  if (kind === 'fail') {
    exchange.push(entry);
    writes.push(CERTAIN_FAILURE);
    return;
  }
  if (kind === 'query') {
    backend.unnamedOwner = null; // a simple query drops the unnamed statement
    session.statements.unnamed = null;
  } else if (kind === 'parse' && prepared !== null) {
    if (isThere(backend, unit, prepared)) {
      exchange.push({ ...entry, kind: 'local', bytes: PARSE_COMPLETE });
      return;
    }
    noteParse(session, backend, prepared, writes);
  } else if (prepared !== null) {
    ensure(session, backend, prepared, writes);
  }
  exchange.push(entry);
  writes.push(entry.bytes);
}

/** A named statement that the backend has need not be sent again; an unnamed one replaces what is there. */
function isThere(backend: Backend, unit: Unit, prepared: Prepared): boolean {
  if (prepared.serverName === '' || unit.plan.deallocates || !backend.statements.has(prepared.serverName)) return false;
  backend.statements.touch(prepared.serverName);
  return true;
}

function ensure(session: Session, backend: Backend, prepared: Prepared, writes: Buffer[]): void {
  if (prepared.serverName === '') {
    if (backend.unnamedOwner === prepared) return;
  } else if (backend.statements.has(prepared.serverName)) {
    backend.statements.touch(prepared.serverName);
    return;
  }
  noteParse(session, backend, prepared, writes);
  const bytes = prepared.parse;
  session.exchange.push({ kind: 'parse', bytes, swallow: true, prepared, tracked: null, undo: null });
  writes.push(bytes);
}

function noteParse(session: Session, backend: Backend, prepared: Prepared, writes: Buffer[]): void {
  if (prepared.serverName === '') {
    backend.unnamedOwner = prepared;
    return;
  }
  const evicted = backend.statements.add(prepared.serverName, session.context.config.pool.maxPreparedStatements);
  if (evicted === null) return;
  const bytes = close('S', evicted);
  session.exchange.push({ kind: 'close', bytes, swallow: true, prepared: null, tracked: null, undo: null });
  writes.push(bytes);
}

/** What the client's DEALLOCATE of a statement of the protocol names on the server, see `Unit` and `local.ts`. */
function prepareDeallocate(session: Session, unit: Unit, backend: Backend, writes: Buffer[]): void {
  const statement = unit.simple?.statements.length === 1 ? unit.simple.statements[0] : undefined;
  if (statement?.kind !== 'deallocate' || statement.name === null) return;
  if (!session.statements.named.has(statement.name) || session.transaction.kind === 'open') return;
  // The server has it under another name, for others too: let it take away a stand-in under the client's name.
  const quoted = `"${statement.name.replaceAll('"', '""')}"`;
  pushOwnQuery(session, backend, `PREPARE ${quoted} AS SELECT 1`, writes);
}
