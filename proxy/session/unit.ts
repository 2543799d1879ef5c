import { ClientError } from '../../common/errors.ts';
import type { Classification } from '../sql/types.ts';
import { decodeBind, decodeExecute, decodeParse, decodeTarget } from '../wire/decode.ts';
import { bind, CLOSE_COMPLETE, describe, errorResponse, SYNC } from '../wire/encode.ts';
import type { SessionContext } from './context.ts';
import type { Entry } from './exchange.ts';
import { EMPTY_PLAN, isTracked, mergePlans, planOf, type UnitPlan } from './plan.ts';
import { type Prepared, prepare, type StatementStore } from './prepared.ts';

/** What turning a client's messages into entries needs of the session. */
export interface UnitScope {
  readonly database: string;
  readonly store: StatementStore;
  readonly catalogVersion: number;
  classify(text: Buffer): Classification;
}

export function unitScope(context: SessionContext, database: string, classify: UnitScope['classify']): UnitScope {
  const catalog = context.catalogOf(database);
  return {
    database,
    store: context.statements,
    get catalogVersion() {
      return catalog.version;
    },
    classify,
  };
}

/** One session may name so many statements; PostgreSQL has no bound but memory. */
const MAX_SESSION_STATEMENTS = 10_000;

/** The names that a client has given: they mean the same whichever server serves it. */
export class ClientStatements {
  readonly named = new Map<string, Prepared>();
  unnamed: Prepared | null = null;
  readonly portals = new Map<string, Prepared | null>();
  unnamedPortal: Prepared | null = null;

  find(name: string): Prepared | null {
    return name === '' ? this.unnamed : (this.named.get(name) ?? null);
  }

  clear(): void {
    this.named.clear();
    this.unnamed = null;
  }
}

/** Messages of one client up to a Sync, or to where they have to be sent for another reason. */
export class Unit {
  readonly entries: Entry[] = [];
  plan: UnitPlan = EMPTY_PLAN;
  bytes = 0;
  /** It ends with a Sync, or is a Query: the server will say when it is ready. */
  complete = false;
  /** Part of it went to a server as it came in and is not here any more. */
  streamed = false;
  /** Key of the (last) statement, for `learnWrite`. */
  key: string | null = null;
  /** The classification of a simple Query. */
  simple: Classification | null = null;
  attempts = 0;
  readonly tried = new Set<string>();
  /** Run on the leader whatever the plan says: a follower refused it. */
  leaderOnly = false;
  /** All its messages are about this statement, which the proxy answers; earlier ones of the sequence were answered already. */
  own: Classification | null = null;
  ownPrepared: Prepared | null = null;
  /** It lasted too long and was cancelled: what its client is told instead of the server's error. */
  timeout: ClientError | null = null;
  /** A cancel may reach the server while it runs. */
  cancelSent = false;

  add(entry: Entry): void {
    this.entries.push(entry);
    this.bytes += entry.bytes.length;
    if (entry.kind === 'sync') this.complete = true;
  }

  widen(classification: Classification): void {
    this.plan = mergePlans(this.plan, planOf(classification));
    this.key = classification.key;
  }
}

export function simpleUnit(message: Buffer, classification: Classification): Unit {
  const unit = new Unit();
  unit.simple = classification;
  unit.widen(classification);
  unit.add({
    kind: 'query',
    bytes: message,
    swallow: false,
    prepared: null,
    tracked: unit.plan.tracked ? classification : null,
    undo: null,
  });
  unit.complete = true;
  return unit;
}

const plain = (kind: Entry['kind'], bytes: Buffer): Entry => ({
  kind,
  bytes,
  swallow: false,
  prepared: null,
  tracked: null,
  undo: null,
});

export const SYNC_ENTRY: Entry = plain('sync', SYNC);

/**
 * Turns an extended-protocol message into an entry of the unit: names of statements become those of the servers.
 * `message` is a whole message and is kept as it is. Throws ClientError 08P01 if it is malformed.
 */
export function addExtended(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const type = message[0] as number;
  switch (type) {
    case 0x50:
      return addParse(unit, message, statements, scope);
    case 0x42:
      return addBind(unit, message, statements, scope);
    case 0x44:
      return addDescribe(unit, message, statements, scope);
    case 0x45:
      return addExecute(unit, message, statements);
    default:
      return addClose(unit, message, statements);
  }
}

function addParse(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { name, textStart, textEnd, oidsStart } = decodeParse(message, 5, message.length);
  const text = message.subarray(textStart, textEnd);
  const classification = scope.classify(text);
  unit.widen(classification);
  const parts = { text, oids: message.subarray(oidsStart), classification, catalogVersion: scope.catalogVersion };
  if (name === '') {
    const prepared = prepare('', parts);
    statements.unnamed = prepared;
    unit.add({ ...plain('parse', prepared.parse), prepared });
    return;
  }
  if (statements.named.has(name)) {
    unit.add(failure('42P05', `prepared statement "${name}" already exists`));
    return;
  }
  if (statements.named.size >= MAX_SESSION_STATEMENTS) {
    unit.add(failure('54000', `a session may have ${MAX_SESSION_STATEMENTS} prepared statements at most`));
    return;
  }
  const prepared = scope.store.intern(scope.database, parts);
  statements.named.set(name, prepared);
  unit.add({
    ...plain('parse', prepared.parse),
    prepared,
    undo: () => {
      if (statements.named.get(name) === prepared) statements.named.delete(name);
    },
  });
}

function addBind(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { portal, statement, tailStart } = decodeBind(message, 5, message.length);
  const prepared = statements.find(statement);
  if (portal === '') statements.unnamedPortal = prepared;
  else statements.portals.set(portal, prepared);
  if (prepared === null) {
    unit.add(noSuchStatement(statement));
    return;
  }
  widenBy(unit, prepared, scope);
  const bytes = statement === '' ? message : bind(portal, prepared.serverName, message.subarray(tailStart));
  unit.add({ ...plain('bind', bytes), prepared });
}

function addDescribe(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { kind, name } = decodeTarget(message, 5, message.length);
  if (kind === 'P') {
    unit.add(plain('describe', message));
    return;
  }
  const prepared = statements.find(name);
  if (prepared === null) {
    unit.add(noSuchStatement(name));
    return;
  }
  widenBy(unit, prepared, scope);
  unit.add({ ...plain('describe', name === '' ? message : describe('S', prepared.serverName)), prepared });
}

function addExecute(unit: Unit, message: Buffer, statements: ClientStatements): void {
  const { portal } = decodeExecute(message, 5, message.length);
  const prepared = portal === '' ? statements.unnamedPortal : statements.portals.get(portal);
  const classification = prepared?.classification;
  const tracked = classification?.statements.some(isTracked) === true ? classification : null;
  unit.add({ ...plain('execute', message), tracked });
}

function addClose(unit: Unit, message: Buffer, statements: ClientStatements): void {
  const { kind, name } = decodeTarget(message, 5, message.length);
  if (kind === 'P') {
    statements.portals.delete(name);
    unit.add(plain('close', message));
    return;
  }
  const prepared = statements.find(name);
  if (name === '') statements.unnamed = null;
  else statements.named.delete(name);
  // Servers keep it for the next who needs it.
  unit.add({
    ...plain('local', CLOSE_COMPLETE),
    undo: () => {
      if (prepared === null) return;
      if (name === '') statements.unnamed ??= prepared;
      else if (!statements.named.has(name)) statements.named.set(name, prepared);
    },
  });
}

function widenBy(unit: Unit, prepared: Prepared, scope: UnitScope): void {
  if (prepared.catalogVersion !== scope.catalogVersion) reclassify(prepared, scope);
  unit.widen(prepared.classification);
}

export function reclassify(prepared: Prepared, scope: UnitScope): void {
  prepared.classification = scope.classify(prepared.parse.subarray(prepared.textStart, prepared.textEnd));
  prepared.catalogVersion = scope.catalogVersion;
}

function noSuchStatement(name: string): Entry {
  const what = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
  return failure('26000', `${what} does not exist`);
}

function failure(sqlState: string, message: string): Entry {
  return plain('fail', errorResponse(new ClientError({ sqlState, message })));
}
