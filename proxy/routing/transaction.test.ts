import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatementDetail } from '../sql/types.ts';
import {
  answerLocally,
  DOOMED,
  IDLE,
  onTransactionEvent,
  readyStatus,
  routeOfTransaction,
  type TransactionState,
} from './transaction.ts';

const unsaid = { readOnly: null, isolation: null, deferrable: null };
const begin: StatementDetail = { kind: 'begin', ...unsaid };
const beginReadOnly: StatementDetail = { kind: 'begin', ...unsaid, readOnly: true };
const commit: StatementDetail = { kind: 'commit', chain: false };
const rollback: StatementDetail = { kind: 'rollback', chain: false };
const select: StatementDetail = { kind: 'read' };
const noDefaults = { readOnly: false, isolation: null };

function next(state: TransactionState, statement: StatementDetail, sql = 'x'): TransactionState {
  const answer = answerLocally(state, statement, sql);
  assert.ok(answer !== null);
  return answer.next;
}

function deferred(statement: StatementDetail = begin, sql = 'BEGIN'): TransactionState & { kind: 'deferred' } {
  const state = next(IDLE, statement, sql);
  assert.equal(state.kind, 'deferred');
  return state as TransactionState & { kind: 'deferred' };
}

test('BEGIN is answered by the proxy and kept for the first statement', () => {
  const answer = answerLocally(IDLE, begin, 'BEGIN ISOLATION LEVEL SERIALIZABLE');
  assert.deepEqual(answer?.kind === 'complete' && answer.tag, 'BEGIN');
  assert.deepEqual(answer?.next.kind === 'deferred' && answer.next.sql, ['BEGIN ISOLATION LEVEL SERIALIZABLE']);
  assert.equal(answer === null ? '' : readyStatus(answer.next), 'T');
});

test('a statement outside a transaction is not answered by the proxy', () => {
  assert.equal(answerLocally(IDLE, select, 'SELECT 1'), null);
  assert.equal(answerLocally(IDLE, commit, 'COMMIT'), null);
});

test('COMMIT and ROLLBACK of a transaction that did nothing touch no server', () => {
  for (const [statement, tag] of [
    [commit, 'COMMIT'],
    [rollback, 'ROLLBACK'],
  ] as const) {
    assert.deepEqual(answerLocally(deferred(), statement, tag), { kind: 'complete', tag, next: IDLE });
  }
});

test('COMMIT AND CHAIN of a transaction that did nothing begins the same again', () => {
  const state = deferred(beginReadOnly, 'BEGIN READ ONLY');
  assert.equal(next(state, { kind: 'commit', chain: true }), state);
});

test('SET TRANSACTION right after BEGIN refines the route', () => {
  const set: StatementDetail = { kind: 'set-transaction', ...unsaid, readOnly: true, session: false };
  const state = next(deferred(), set, 'SET TRANSACTION READ ONLY');
  assert.ok(state.kind === 'deferred');
  assert.deepEqual(state.sql, ['BEGIN', 'SET TRANSACTION READ ONLY']);
  assert.equal(routeOfTransaction(state.modes, noDefaults), 'follower');
});

test('SET SESSION CHARACTERISTICS inside a transaction is a server’s', () => {
  const set: StatementDetail = { kind: 'set-transaction', ...unsaid, readOnly: true, session: true };
  assert.equal(answerLocally(deferred(), set, 'x'), null);
});

const routes = [
  ['an unmarked transaction goes to the leader', begin, noDefaults, 'leader'],
  ['READ ONLY goes to a follower', beginReadOnly, noDefaults, 'follower'],
  [
    'READ WRITE goes to the leader whatever the default',
    { ...begin, readOnly: false },
    { readOnly: true, isolation: null },
    'leader',
  ],
  ['an unmarked one of a READ ONLY session goes to a follower', begin, { readOnly: true, isolation: null }, 'follower'],
  [
    'SERIALIZABLE goes to the leader even when READ ONLY',
    { ...beginReadOnly, isolation: 'serializable' },
    noDefaults,
    'leader',
  ],
  [
    'SERIALIZABLE by default goes to the leader too',
    beginReadOnly,
    { readOnly: false, isolation: 'serializable' },
    'leader',
  ],
] as const;

for (const [name, statement, defaults, expected] of routes) {
  test(name, () => assert.equal(routeOfTransaction(deferred(statement).modes, defaults), expected));
}

test('an open transaction is followed by the server’s ReadyForQuery', () => {
  let state = onTransactionEvent(deferred(), { type: 'opened', node: 'a' });
  assert.equal(readyStatus(state), 'T');
  state = onTransactionEvent(state, { type: 'ready', status: 'E', node: 'a' });
  assert.equal(readyStatus(state), 'E');
  assert.equal(answerLocally(state, rollback, 'ROLLBACK'), null);
  state = onTransactionEvent(state, { type: 'ready', status: 'I', node: 'a' });
  assert.equal(state, IDLE);
});

test('a text of several statements that leaves a transaction open is noticed', () => {
  const state = onTransactionEvent(IDLE, { type: 'ready', status: 'T', node: 'a' });
  assert.deepEqual(state, { kind: 'open', node: 'a', failed: false });
});

test('a transaction whose server is lost answers 25P02 until it is ended', () => {
  const state = onTransactionEvent({ kind: 'open', node: 'a', failed: false }, { type: 'lost' });
  assert.equal(state, DOOMED);
  assert.equal(readyStatus(state), 'E');
  for (const statement of [
    select,
    begin,
    { kind: 'savepoint', name: 's' },
    { kind: 'rollback-to', name: 's' },
  ] as const) {
    assert.deepEqual(answerLocally(state, statement, 'x'), { kind: 'error', sqlState: '25P02', next: DOOMED });
  }
  for (const statement of [commit, rollback]) {
    assert.deepEqual(answerLocally(state, statement, 'x'), { kind: 'complete', tag: 'ROLLBACK', next: IDLE });
  }
});

test('losing a server concerns neither an idle session nor a deferred transaction', () => {
  assert.equal(onTransactionEvent(IDLE, { type: 'lost' }), IDLE);
  const state = deferred();
  assert.equal(onTransactionEvent(state, { type: 'lost' }), state);
});
