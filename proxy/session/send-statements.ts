import type { Backend } from '../pool/backend.ts';
import type { Classification } from '../sql/types.ts';
import { close } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import type { Prepared } from './prepared.ts';
import type { Session } from './session.ts';

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

export function noteParse(session: Session, backend: Backend, prepared: Prepared, writes: Buffer[]): void {
  if (prepared.serverName === '') {
    backend.unnamedOwner = prepared;
    return;
  }
  const evicted = backend.statements.add(prepared.serverName, session.context.config.pool.maxPreparedStatements);
  if (evicted === null) return;
  pushOwn(session, 'close', close('S', evicted), null, writes);
}

export function pushOwn(
  session: Session,
  kind: Entry['kind'],
  bytes: Buffer,
  prepared: Prepared | null,
  writes: Buffer[],
): void {
  session.exchange.push({ kind, bytes, swallow: true, prepared, tracked: null, undo: null });
  writes.push(bytes);
}
