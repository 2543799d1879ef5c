import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Backend, type BackendLoss } from '../pool/backend.ts';
import { NO_SETTINGS } from '../routing/settings-image.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import { bind, execute, parse, query, SYNC } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import { onlyStatement, Outcome, provenBy } from './outcome.ts';
import type { Session } from './session.ts';
import { simpleUnit, Unit } from './unit.ts';

function classified(...kinds: StatementInfo['kind'][]): Classification {
  const statements = kinds.map((kind) => ({ start: 0, end: 1, kind, chain: false }) as unknown as StatementInfo);
  return {
    key: 'k',
    statements,
    target: 'leader',
    reason: 'write',
    pins: [],
    retryable: false,
    executes: [],
    listsStatements: false,
    unlocks: false,
    locks: false,
    hint: null,
    consistency: null,
  };
}

const simple = (...kinds: StatementInfo['kind'][]): Unit => simpleUnit(query('x'), classified(...kinds));

function extended(kind: StatementInfo['kind'], portal = ''): Unit {
  const unit = new Unit();
  const classification = classified(kind);
  const prepared = { classification } as unknown as Entry['prepared'];
  const add = (each: Partial<Entry> & Pick<Entry, 'kind' | 'bytes'>): void =>
    unit.add({ swallow: false, prepared: null, name: '', tracked: null, undo: null, ...each });
  add({ kind: 'parse', bytes: parse('', Buffer.from('x')), prepared });
  add({ kind: 'bind', bytes: bind(portal, ''), prepared });
  add({ kind: 'execute', bytes: execute(portal), tracked: kind === 'commit' ? classification : null });
  add({ kind: 'sync', bytes: SYNC });
  return unit;
}

function proof(
  unit: Unit,
  fatal: [severity: string, routine: string] | null,
  state: Record<string, unknown> = {},
): string {
  const outcome = new Outcome();
  outcome.completed = (state['completed'] as number | undefined) ?? 0;
  const session = { outcome, exchange: { copying: false }, passedOn: false, ...state } as unknown as Session;
  const fields = fatal === null ? null : { severity: fatal[0], routine: fatal[1], sqlState: '57P01' };
  return provenBy(session, unit, { reason: 'x', fatal: fields } as unknown as BackendLoss);
}

const WAITING: [string, string] = ['FATAL', 'secure_read'];
const STOPPED: [string, string] = ['FATAL', 'ProcessInterrupts'];
const cases: readonly (readonly [string, string, string])[] = [
  ['a server that waited for a command did not run this one', proof(simple('write'), WAITING), 'not-run'],
  ['nor by the extended protocol', proof(extended('write'), WAITING), 'not-run'],
  ['but for a COPY, whose data it may have waited for', proof(simple('copy-from'), WAITING), 'undone'],
  ['nor may it run again when something was passed on', proof(simple('write'), WAITING, { passedOn: true }), 'undone'],
  ['a server that was told to end rolled back', proof(simple('write'), STOPPED), 'undone'],
  ['before the CommandComplete of a COMMIT as well', proof(extended('commit'), STOPPED), 'undone'],
  ['after a CommandComplete nothing is proven', proof(simple('write'), STOPPED, { completed: 1 }), 'nothing'],
  ['a warning proves nothing', proof(simple('write'), ['WARNING', 'quickdie']), 'nothing'],
  ['a broken connection proves nothing', proof(simple('write'), null), 'nothing'],
  ['CALL may have committed before', proof(simple('utility'), STOPPED), 'nothing'],
  ['so may one of several statements', proof(simple('write', 'commit'), STOPPED), 'nothing'],
  ['what a named portal runs is not looked for', proof(extended('write', 'p'), STOPPED), 'nothing'],
];
for (const [name, is, expected] of cases) test(name, () => assert.equal(is, expected));

test('the one statement of a unit is known, and several are none', () => {
  assert.equal(onlyStatement(simple('commit'))?.kind, 'commit');
  assert.equal(onlyStatement(extended('commit'))?.kind, 'commit');
  assert.equal(onlyStatement(simple('write', 'commit')), null);
  const twice = extended('commit');
  twice.entries.push(...extended('commit').entries);
  assert.equal(onlyStatement(twice), null);
});

test('an id is read from its row, and NULL is noted as none', () => {
  const outcome = new Outcome();
  const row = Buffer.from('xxD\0\0\0\x11\0\x01\0\0\0\x0b12345678901yy', 'latin1');
  outcome.note(row, 2);
  assert.equal(outcome.xid, 12345678901n);
  outcome.forget();
  outcome.note(Buffer.from('D\0\0\0\x0a\0\x01\xff\xff\xff\xff', 'latin1'), 0);
  assert.deepEqual([outcome.xid, outcome.unassigned], [null, true]);
});

test('a backend whose socket has failed says at once that it takes nothing', async () => {
  const peers: Socket[] = [];
  const server = createServer((peer) => peers.push(peer.on('error', () => undefined))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1');
  await once(socket, 'connect');
  while (peers.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const login = { socket, processId: 1, secretKey: Buffer.alloc(4), parameters: new Map() };
  const place = { node: 'n', host: 'h', port: 1, role: 'leader', term: null } as const;
  const backend = new Backend(
    login as never,
    place,
    {
      onBackendAsked: () => undefined,
      onBackendAnswered: () => undefined,
      onBackendLost: () => undefined,
      onBackendClosed: () => undefined,
      onBackendGone: () => undefined,
    },
    NO_SETTINGS,
    0,
    false,
  );
  assert.equal(backend.refuses, false);
  backend.write(SYNC);
  assert.equal(backend.refuses, false);
  peers[0]?.resetAndDestroy();
  // No event has told of it yet: the kernel does, when it is asked to take the bytes.
  backend.write(SYNC);
  assert.equal(backend.refuses, true);
  server.close();
});
