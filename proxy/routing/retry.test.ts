import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Failure, type Recovery, recoveryOf, type ServerError } from './retry.ts';

const lost: Failure = {
  work: 'read',
  role: 'follower',
  transaction: 'none',
  sent: true,
  undone: false,
  passedOn: false,
  attempts: 1,
  error: null,
};

function error(sqlState: string, routine: string | null = null): ServerError {
  return { severity: 'ERROR', sqlState, file: null, routine };
}

const elsewhere: Recovery = { kind: 'retry-elsewhere' };
const passOn: Recovery = { kind: 'pass-on' };
const again: Recovery = { kind: 'again' };
const learn: Recovery = { kind: 'retry-on-leader', learn: true };
const leader: Recovery = { kind: 'retry-on-leader', learn: false };
const retryable: Recovery = { kind: 'report', sqlState: '40001' };
const unknown: Recovery = { kind: 'report', sqlState: '08007' };
const onLeader = { role: 'leader' } as const;
const write = { work: 'write', role: 'leader' } as const;

const cases: [string, Partial<Failure>, Recovery][] = [
  ['a read whose follower was lost runs elsewhere', {}, elsewhere],
  ['a read whose leader was lost runs again', onLeader, elsewhere],
  ['a read of which rows were passed on is never run twice', { passedOn: true }, retryable],
  ['a read is run three times at most', { attempts: 3 }, retryable],
  ['a write in flight that was lost has an unknown outcome', write, unknown],
  ['a write of which nothing was sent is held again', { ...write, sent: false }, again],
  ['a read of which nothing was sent chooses again', { sent: false }, again],
  ['a write that the server stopped itself did not happen', { ...write, undone: true }, retryable],
  ['nor did such a COMMIT', { ...write, transaction: 'committing', undone: true }, retryable],
  ['a lost COMMIT has an unknown outcome', { ...write, transaction: 'committing' }, unknown],
  ['a COMMIT that was never sent did not happen', { ...write, transaction: 'committing', sent: false }, retryable],
  ['a transaction that died before COMMIT is a serialization failure', { ...write, transaction: 'open' }, retryable],
  ['a read-only transaction that died is one too', { transaction: 'open' }, retryable],
  ['the first read of a transaction runs elsewhere with its BEGIN', { transaction: 'opening' }, elsewhere],
  ['the first write of a transaction is not run twice', { ...write, transaction: 'opening' }, retryable],
  [
    'the first write of a transaction that was not sent is held',
    { ...write, transaction: 'opening', sent: false },
    again,
  ],
  ['a follower that refuses a write sends it to the leader and is remembered', { error: error('25006') }, learn],
  [
    'a write in a READ ONLY transaction is the client’s error',
    { transaction: 'opening', error: error('25006') },
    passOn,
  ],
  ['25006 from the leader is the client’s error', { ...onLeader, error: error('25006') }, passOn],
  ['25006 after rows is passed on', { passedOn: true, error: error('25006') }, passOn],
  ['an unlogged table is the leader’s', { error: error('0A000', 'get_relation_info') }, learn],
  ['what a standby does not support is asked of the leader', { error: error('0A000', 'other') }, leader],
  ['"recovery is in progress" is asked of the leader', { error: error('55000') }, leader],
  ['a conflict with recovery runs elsewhere', { error: error('40001', 'ProcessInterrupts') }, elsewhere],
  ['a deadlock with recovery runs elsewhere', { error: error('40P01') }, elsewhere],
  ['a conflict in an open transaction is passed on', { transaction: 'open', error: error('40001') }, passOn],
  ['a serialization failure on the leader is passed on', { ...onLeader, error: error('40001') }, passOn],
  ['a follower that shuts down has lost the read', { error: error('57P01') }, elsewhere],
  ['a leader that crashes during a write leaves it unknown', { ...write, error: error('57P02') }, unknown],
  ['a cancelled query is passed on', { error: error('57014') }, passOn],
  ['an ordinary error is passed on', { error: error('42P01') }, passOn],
];

for (const [name, overrides, expected] of cases) {
  test(name, () => assert.deepEqual(recoveryOf({ ...lost, ...overrides }), expected));
}
