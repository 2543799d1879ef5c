import { ClientError } from '../../common/errors.ts';
import { decodeBind, decodeExecute, decodeParse, decodeTarget } from '../wire/decode.ts';
import { bind, CLOSE_COMPLETE, close, describe, errorResponse, parse } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import { isTracked } from './plan.ts';
import { type Prepared, prepare } from './prepared.ts';
import { applySql, mention, mentionName, use } from './sql-statements.ts';
import {
  type ClientStatements,
  MAX_SESSION_STATEMENTS,
  plainEntry as plain,
  reclassify,
  type Unit,
  type UnitScope,
} from './unit.ts';

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
      return addExecute(unit, message, statements, scope);
    default:
      return addClose(unit, message, statements);
  }
}

function addParse(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { name, textStart, textEnd, oidsStart } = decodeParse(message, 5, message.length);
  const text = message.subarray(textStart, textEnd);
  const classification = scope.classify(text);
  unit.widen(classification);
  mention(unit, classification, statements);
  const { catalogVersion } = scope;
  const environment = name === '' ? '' : scope.environment; // an unnamed one is not shared
  const parts = { text, oids: message.subarray(oidsStart), classification, catalogVersion, environment };
  if (name === '') {
    const prepared = prepare('', parts);
    const before = statements.unnamed;
    statements.unnamed = prepared;
    const undo = (): void => {
      statements.unnamed = before;
    };
    unit.add({ ...plain('parse', prepared.parse), prepared, undo });
    return;
  }
  if (!statements.isFree(name)) {
    // A server looks at the text first: let it do so, under a name that nobody uses.
    for (const bytes of [close('S', TWICE), parse(TWICE, parts.text, parts.oids)]) {
      unit.add({ ...plain(bytes[0] === 0x43 ? 'close' : 'parse', bytes), swallow: true });
    }
    unit.add(
      failure('42P05', `prepared statement "${name}" already exists`, ['prepare.c', 412, 'StorePreparedStatement']),
    );
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
    name,
    undo: () => {
      if (statements.named.get(name) === prepared) statements.remove(name);
    },
  });
}

const TWICE = 'leasehold: twice';

function addBind(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { portal, statement, tailStart } = decodeBind(message, 5, message.length);
  const prepared = statements.find(statement);
  if (portal !== '') statements.portals.set(portal, prepared);
  if (prepared === null) {
    unit.add(noSuchStatement(statement));
    return;
  }
  const undo = portal === '' && statements.unnamedPortal === null ? statements.dropPortal : null;
  if (portal === '') statements.unnamedPortal = prepared;
  widenBy(unit, prepared, statements, scope);
  const bytes =
    statement === '' || prepared.sql !== null
      ? message
      : bind(portal, prepared.serverName, message.subarray(tailStart));
  unit.add({ ...plain('bind', bytes), prepared, name: statement, undo });
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
  widenBy(unit, prepared, statements, scope);
  unit.add({
    ...plain('describe', name === '' || prepared.sql !== null ? message : describe('S', prepared.serverName)),
    prepared,
    name,
  });
}

function addExecute(unit: Unit, message: Buffer, statements: ClientStatements, scope: UnitScope): void {
  const { portal } = decodeExecute(message, 5, message.length);
  const prepared = portal === '' ? statements.unnamedPortal : statements.portals.get(portal);
  if (portal === '' && prepared === null) {
    // A server may still have that of a failed Query, whose memory is freed: it may crash, and all its connections with it.
    unit.add(failure('34000', 'portal "" does not exist', ['postgres.c', 2072, 'exec_execute_message']));
    return;
  }
  const classification = prepared?.classification;
  const tracked = classification?.statements.some(isTracked) === true ? classification : null;
  const only = classification?.statements.length === 1 ? classification.statements[0] : undefined;
  const undo =
    prepared === null || prepared === undefined || only === undefined
      ? null
      : applySql(only, prepared, statements, scope);
  if (classification !== undefined) use(unit, classification);
  const made = only?.kind === 'prepare' && undo !== null ? (statements.named.get(only.name) ?? null) : null;
  unit.add({ ...plain('execute', message), prepared: made, tracked, undo });
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
  else statements.remove(name);
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

function widenBy(unit: Unit, prepared: Prepared, statements: ClientStatements, scope: UnitScope): void {
  if (prepared.catalogVersion !== scope.catalogVersion) reclassify(prepared, scope);
  unit.widen(prepared.classification);
  if (prepared.sql !== null) mentionName(unit, prepared.serverName, statements);
  mention(unit, prepared.classification, statements);
}

function noSuchStatement(name: string): Entry {
  if (name === '') {
    return failure('26000', 'unnamed prepared statement does not exist', ['postgres.c', 1618, 'exec_bind_message']);
  }
  const where = ['prepare.c', 452, 'FetchPreparedStatement'] as const;
  return failure('26000', `prepared statement "${name}" does not exist`, where);
}

/** `where` PostgreSQL 15 raises the same. */
function failure(sqlState: string, message: string, where?: readonly [string, number, string]): Entry {
  const source = where === undefined ? {} : { source: { file: where[0], line: where[1], routine: where[2] } };
  return plain('fail', errorResponse(new ClientError({ sqlState, message, ...source })));
}
