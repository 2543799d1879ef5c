import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Classification } from '../sql/types.ts';
import { decodeBind, decodeErrorFields, decodeTarget } from '../wire/decode.ts';
import { bind, close, describe, execute, parse } from '../wire/encode.ts';
import { StatementStore } from './prepared.ts';
import { addExtended } from './extended.ts';
import { ClientStatements, Unit, type UnitScope } from './unit.ts';

function classification(text: string): Classification {
  const write = /^(?:INSERT|UPDATE)/.test(text);
  return {
    key: text,
    statements: [{ kind: write ? 'write' : 'read', start: -1, end: -1 }],
    target: write ? 'leader' : 'follower',
    reason: write ? 'write' : 'read',
    pins: [],
    retryable: !write,
    executes: [],
    listsStatements: false,
    unlocks: false,
    locks: false,
    hint: null,
    consistency: null,
  };
}

function scopeOf(store: StatementStore, database = 'app'): UnitScope {
  return { database, store, catalogVersion: 1, environment: '', classify: (text) => classification(text.toString()) };
}

const parseText = (name: string, text: string): Buffer => parse(name, Buffer.from(text));

function build(
  messages: readonly Buffer[],
  statements = new ClientStatements(),
  scope = scopeOf(new StatementStore()),
): Unit {
  const unit = new Unit();
  for (const message of messages) addExtended(unit, message, statements, scope);
  return unit;
}

test('equal texts of two sessions get one server name, other texts and other databases another', () => {
  const store = new StatementStore();
  const nameOf = (client: string, text: string, database = 'app'): string => {
    const unit = build([parseText(client, text)], new ClientStatements(), scopeOf(store, database));
    return unit.entries[0]?.prepared?.serverName ?? '';
  };
  const first = nameOf('a', 'SELECT 1');
  assert.notEqual(first, '');
  assert.equal(nameOf('b', 'SELECT 1'), first);
  assert.notEqual(nameOf('a', 'SELECT 2'), first);
  assert.notEqual(nameOf('a', 'SELECT 1', 'other'), first);
});

test('Bind and Describe are sent under the server’s name', () => {
  const unit = build([parseText('mine', 'SELECT 1'), bind('p', 'mine'), describe('S', 'mine')]);
  const name = unit.entries[0]?.prepared?.serverName;
  const [, bound, described] = unit.entries.map(({ bytes }) => bytes);
  assert.equal(decodeBind(bound as Buffer, 5, (bound as Buffer).length).statement, name);
  assert.equal(decodeTarget(described as Buffer, 5, (described as Buffer).length).name, name);
});

test('the strongest class of a unit decides', () => {
  const reads = build([parseText('', 'SELECT 1'), bind('', ''), execute('')]);
  assert.equal(reads.plan.target, 'follower');
  assert.equal(reads.plan.retryable, true);
  const both = build([parseText('', 'SELECT 1'), parseText('w', 'INSERT x')]);
  assert.equal(both.plan.target, 'leader');
  assert.equal(both.plan.retryable, false);
});

test('a name that is taken, and one that is not known, become certain failures with PostgreSQL’s codes', () => {
  const codeOf = (bytes: Buffer): string => decodeErrorFields(bytes, 5, bytes.length).sqlState;
  const twice = build([parseText('a', 'SELECT 1'), parseText('a', 'SELECT 2')]);
  assert.deepEqual(
    twice.entries.map(({ kind }) => kind),
    ['parse', 'close', 'parse', 'fail'],
  );
  assert.equal(codeOf(twice.entries[3]?.bytes as Buffer), '42P05');
  const unknown = build([bind('', 'leasehold_1'), bind('', '')]);
  assert.deepEqual(
    unknown.entries.map(({ bytes }) => codeOf(bytes)),
    ['26000', '26000'],
  );
});

test('a Close stays with the proxy and frees the name; undone, the name is back', () => {
  const statements = new ClientStatements();
  build([parseText('a', 'SELECT 1')], statements);
  const unit = build([close('S', 'a')], statements);
  assert.equal(unit.entries[0]?.kind, 'local');
  assert.equal(statements.find('a'), null);
  unit.entries[0]?.undo?.();
  assert.notEqual(statements.find('a'), null);
});

test('a Parse that was never carried out leaves no name behind', () => {
  const statements = new ClientStatements();
  const unit = build([parseText('a', 'SELECT 1')], statements);
  unit.entries[0]?.undo?.();
  assert.equal(statements.find('a'), null);
});
