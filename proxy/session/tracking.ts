import { isOwnSetting } from '../routing/own-settings.ts';
import { IDENTITY_SETTINGS, type SettingsImage } from '../routing/settings-image.ts';
import type { StatementInfo } from '../sql/types.ts';
import { decodeCommandTag } from '../wire/decode.ts';
import { identityOf, LEFT, NOBODYS } from './align.ts';
import type { Entry } from './exchange.ts';
import type { Session } from './session.ts';
import { wipesAll } from './send-statements.ts';
import { sqlPrepared } from './sql-statements.ts';
import { MAX_SESSION_STATEMENTS } from './unit.ts';

/** A statement whose effects the proxy follows has succeeded. */
export function onStatementDone(
  session: Session,
  entry: Entry,
  index: number,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  const statement = entry.tracked?.statements[entry.kind === 'query' ? index : 0];
  if (statement === undefined || buffer[start] !== 0x43) return;
  const { kind } = statement;
  if (kind === 'commit' || kind === 'rollback' || kind === 'prepare-transaction') {
    endTransaction(session, statement, decodeCommandTag(buffer, start + 5, end));
  } else if (kind === 'prepare') {
    noteName(
      session,
      statement.name,
      entry.kind === 'query' ? notePrepare(session, entry, statement) : identityMade(entry),
    );
  } else if (kind === 'deallocate') {
    deallocate(session, statement.name, entry.kind === 'query');
  } else if (kind === 'discard') {
    discard(session, statement, entry.kind === 'query');
  } else if (kind === 'set' || kind === 'reset-all') {
    noteSet(session, statement);
  } else {
    session.settings.apply(statement);
  }
}

/** The tag tells whether COMMIT committed: that of a failed transaction is ROLLBACK. */
function endTransaction(session: Session, statement: StatementInfo, tag: string): void {
  if (tag !== 'ROLLBACK') {
    session.settings.apply(statement);
    return;
  }
  undoResets(session);
  session.settings.endTransaction(false);
  if ((statement.kind === 'commit' || statement.kind === 'rollback') && statement.chain) {
    session.settings.beginTransaction();
  }
}

/** A Query; by the extended protocol it was noted when it came (`applySql`). Returns the identity of what the server has now. */
function notePrepare(session: Session, entry: Entry, statement: StatementInfo & { readonly kind: 'prepare' }): string {
  const { named } = session.statements;
  const alone = entry.tracked?.statements.length === 1;
  if (statement.start < 0 && !alone) return LEFT; // it pins
  session.statements.anySql = true;
  if (named.size >= MAX_SESSION_STATEMENTS) {
    session.pins.add('session-state');
    return LEFT;
  }
  const text = entry.bytes.subarray(5, entry.bytes.length - 1);
  const prepared = sqlPrepared(statement, text, alone, session.scope);
  named.set(statement.name, prepared);
  return identityOf(prepared);
}

/** What the name means to the session may be something else by now: later messages of the unit may have changed it. */
function identityMade({ prepared }: Entry): string {
  return prepared === null ? NOBODYS : identityOf(prepared);
}

/** The server has it now. */
function noteName(session: Session, name: string, identity: string): void {
  const { backend, context } = session;
  if (backend === null) return;
  const names = backend.statements.clientNames;
  names.set(name, identity);
  if (names.size > context.config.pool.maxPreparedStatements) backend.statements.unknown = true; // wiped before its next use
}

/** `simple`: not noted yet. */
function deallocate(session: Session, name: string | null, simple: boolean): void {
  const { statements, backend } = session;
  if (name === null) {
    if (simple) {
      statements.clear();
      backend?.statements.clear();
    } else if (backend !== null && !wipesAgain(session)) {
      backend.statements.unknown = false; // `pushEntry` cleared them
    }
    return;
  }
  if (simple) statements.named.delete(name);
  backend?.statements.clientNames.delete(name);
}

/** Another one of these is under way. */
function wipesAgain({ exchange }: Session): boolean {
  const [, ...later] = exchange.pending();
  return later.some(({ kind, tracked }) => kind === 'execute' && tracked !== null && wipesAll(tracked));
}

function discard(session: Session, statement: StatementInfo & { readonly kind: 'discard' }, simple: boolean): void {
  // A rollback may bring them back: the server is asked.
  if (statement.what === 'temp') session.pinsMoved = true;
  if (statement.what === 'sequences') session.pins.delete('sequence-values');
  if (statement.what !== 'all') return;
  session.settings.apply(statement);
  deallocate(session, null, simple);
  session.pins.clear();
  const { image } = session.settings;
  for (const name of image.keys()) session.resets.set(name, 'for-good');
  if (session.backend !== null) session.backend.settings = image;
}

function noteSet(session: Session, statement: StatementInfo & { readonly kind: 'set' | 'reset-all' }): void {
  const { settings, backend } = session;
  const before = settings.image;
  settings.apply(statement);
  if (backend === null) return;
  // Among other statements a server took it for a setting of its own: it is to forget it.
  if (statement.kind === 'set' && isOwnSetting(statement.name)) backend.settings = null;
  const local = statement.kind === 'set' && statement.local;
  // RESET goes back to the server's default where the session means its start-up value: that is set again at the end of the unit.
  for (const name of resetNames(statement, settings)) {
    if (!local) session.resets.set(name, 'session');
    else if (!session.resets.has(name)) session.resets.set(name, 'local');
  }
  if (!local && backend.settings === before) backend.settings = settings.image;
  else if (isIdentity(statement)) backend.settings = null;
}

function isIdentity(statement: StatementInfo): boolean {
  return statement.kind === 'set' && (IDENTITY_SETTINGS as readonly string[]).includes(statement.name);
}

/** The server has taken them back. */
export function undoResets({ resets }: Session): void {
  for (const [name, how] of resets) if (how !== 'for-good') resets.delete(name);
}

/** Those of which the server, after this, has something else than the session. */
function resetNames(
  statement: StatementInfo & { readonly kind: 'set' | 'reset-all' },
  settings: Session['settings'],
): string[] {
  const { image } = settings;
  if (statement.kind === 'reset-all')
    return [...image.keys()].filter((name) => !(IDENTITY_SETTINGS as readonly string[]).includes(name));
  const { name, value } = statement;
  return value === null && settings.valueOf(name) !== undefined ? [name] : [];
}

/**
 * After anything that may have changed the session's image (a SET, SET SESSION CHARACTERISTICS, a rollback that took settings
 * back): the server changed with it. If nobody knows from what, it is set anew before its next use.
 */
export function noteImage(session: Session, before: SettingsImage): void {
  const { backend } = session;
  const { image } = session.settings;
  if (image === before || backend === null || backend.settings === null || backend.settings === image) return;
  backend.settings = backend.settings === before ? image : null;
}
