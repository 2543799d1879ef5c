import type { Backend } from '../pool/backend.ts';
import type { Prepared } from './prepared.ts';
import type { Unit } from './unit.ts';

/**
 * What a client was told of a named statement's columns. A server keeps them with the statement, and refuses to run it when they
 * have changed (0A000). Where the proxy makes the statement anew on another server nothing is kept there, and a driver that
 * goes by the first description would misread the rows. So the new one is compared.
 */

/** Names, types and modifiers of a RowDescription, as PostgreSQL compares them (equalTupleDescs); null: not all of it is there. */
export function columnsOf(buffer: Buffer, start: number, end: number): string | null {
  if (buffer[start] !== ROW_DESCRIPTION) return '';
  if (end - start < 7 || end - start !== 1 + buffer.readInt32BE(start + 1)) return null;
  const columns: string[] = [];
  let at = start + 7;
  while (at < end) {
    const zero = buffer.indexOf(0, at);
    // Behind the name: table, column number, type, its length, modifier, format.
    columns.push(
      `${buffer.toString('latin1', at, zero)}\u0000${buffer.readInt32BE(zero + 7)}\u0000${buffer.readInt32BE(zero + 13)}`,
    );
    at = zero + 19;
  }
  return columns.join('\u0001');
}

const ROW_DESCRIPTION = 0x54;

const NONE: readonly Prepared[] = [];

/** The statements of the unit that this server does not have, and whose columns the client knows from another one. */
export function unprovenOn(backend: Backend, unit: Unit): readonly Prepared[] | null {
  let found = NONE;
  for (const { kind, prepared } of unit.entries) {
    if ((kind !== 'bind' && kind !== 'describe') || prepared === null || prepared.told === null) continue;
    if (backend.statements.has(prepared.serverName) || found.includes(prepared)) continue;
    if (unit.entries.some((each) => each.kind === 'parse' && each.prepared === prepared)) continue;
    found = [...found, prepared];
  }
  return found.length === 0 ? null : found;
}
