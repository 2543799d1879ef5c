import { ClientError } from '../../common/errors.ts';
import type { Backend } from '../pool/backend.ts';
import { parametersIn } from '../sql/body.ts';
import type { Classification } from '../sql/types.ts';
import { decodeBind } from '../wire/decode.ts';
import { bind, close, describe, errorResponse, PARSE_COMPLETE } from '../wire/encode.ts';
import { identityOf } from './align.ts';
import type { Entry } from './exchange.ts';
import { inFailedTransaction } from './errors.ts';
import { type Prepared, textOf } from './prepared.ts';
import type { Session } from './session.ts';
import { endsTransaction } from './stale-plans.ts';

export function wipesAll({ statements }: Classification): boolean {
  const [statement] = statements;
  if (statement?.kind === 'deallocate') return statement.name === null;
  return statement?.kind === 'discard' && statement.what === 'all';
}

/** A named statement that the backend has need not be sent again; an unnamed one replaces what is there. */
export function isThere(backend: Backend, prepared: Prepared): boolean {
  if (prepared.serverName === '' || !backend.statements.has(prepared.serverName)) return false;
  backend.statements.touch(prepared.serverName);
  return true;
}

export function ensure(session: Session, backend: Backend, prepared: Prepared, writes: Buffer[]): void {
  if (prepared.sql !== null) return; // `isAligned`
  if (prepared.serverName === '') {
    if (backend.unnamedOwner === prepared) return;
  } else if (backend.statements.has(prepared.serverName)) {
    backend.statements.touch(prepared.serverName);
    return;
  }
  noteParse(session, backend, prepared, writes);
  pushOwn(session, 'parse', prepared.parse, prepared, writes);
}

/**
 * In a failed transaction a server looks for the statement of a Bind and counts its values first, and refuses only then. Where it does not
 * have the statement it cannot be given it any more: then this is the answer. Null: it is the server's.
 */
export function refusalOf({ kind, prepared, name, bytes }: Entry, backend: Backend): Buffer | null {
  if ((kind !== 'bind' && kind !== 'describe') || prepared === null || endsTransaction(prepared)) return null;
  if (bytes.length <= bytes.readInt32BE(1)) return null; // the first piece of a long one
  const { clientNames } = backend.statements;
  const there =
    prepared.sql === null
      ? backend.unnamedOwner === prepared || backend.statements.has(prepared.serverName)
      : clientNames.get(name) === identityOf(prepared);
  if (there) return null;
  if (kind === 'describe') return errorResponse(inFailedTransaction());
  const { tailStart } = decodeBind(bytes, 5, bytes.length);
  const formats = bytes.readInt16BE(tailStart);
  const given = bytes.readInt16BE(tailStart + 2 + 2 * formats);
  const wanted = parametersOf(prepared);
  if (formats > 1 && formats !== given) {
    return refusal('08P01', `bind message has ${formats} parameter formats but ${given} parameters`);
  }
  if (given === wanted) return errorResponse(inFailedTransaction());
  const statement = `prepared statement "${name}" requires ${wanted}`;
  return refusal('08P01', `bind message supplies ${given} parameters, but ${statement}`);
}

function parametersOf(prepared: Prepared): number {
  const { sql, parse: message, textEnd } = prepared;
  const declared = sql === null ? message.readInt16BE(textEnd + 1) : 0;
  return Math.max(declared, parametersIn(textOf(prepared)));
}

function refusal(sqlState: string, message: string): Buffer {
  return errorResponse(new ClientError({ sqlState, message }));
}

/** Of a unit that lists statements: it uses what `alignment` has made under the client's own names, and nothing else is there. */
export function underOwnName(entry: Entry, backend: Backend): Entry {
  const { kind, prepared, name, bytes } = entry;
  if (prepared === null || prepared.sql !== null || name === '') return entry;
  // Not there: the unit closes it, or the server has refused it.
  if (backend.statements.clientNames.get(name) !== identityOf(prepared)) return entry;
  switch (kind) {
    case 'parse':
      return { ...entry, kind: 'local', bytes: PARSE_COMPLETE };
    case 'bind': {
      const { portal, tailStart } = decodeBind(bytes, 5, bytes.length);
      return { ...entry, prepared: null, bytes: bind(portal, name, bytes.subarray(tailStart)) };
    }
    case 'describe':
      return { ...entry, prepared: null, bytes: describe('S', name) };
    default:
      return entry;
  }
}

export function noteParse(session: Session, backend: Backend, prepared: Prepared, writes: Buffer[]): void {
  if (prepared.serverName === '') {
    backend.unnamedOwner = prepared;
    return;
  }
  const evicted = backend.statements.add(prepared.serverName, session.context.config.pool.maxPreparedStatements);
  if (evicted !== null) pushOwn(session, 'close', close('S', evicted), null, writes);
  // What was to take all of them away may not have been carried out: then it is there still, and could not be made again.
  if (backend.statements.unknown) pushOwn(session, 'close', close('S', prepared.serverName), null, writes);
}

export function pushOwn(
  session: Session,
  kind: Entry['kind'],
  bytes: Buffer,
  prepared: Prepared | null,
  writes: Buffer[],
): void {
  session.exchange.push({ kind, bytes, swallow: true, prepared, name: '', tracked: null, undo: null });
  writes.push(bytes);
}
