import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseholdError } from '../../common/errors.ts';
import { FakePools, never } from '../../test/support/fake-pools.ts';
import { settle } from '../../test/support/fake-servers.ts';
import type { BackendUser } from './backend.ts';
import { PoolFullError } from './pool-error.ts';

const LIMITS = { pool: { size: 2, maxWaiting: 2, waitTimeoutMs: 400, idleTimeoutMs: 1000, maxLifetimeMs: 10_000 } };

const deaf: BackendUser = {
  onBackendMessage: () => undefined,
  onBackendPart: () => undefined,
  onBackendChunkEnd: () => undefined,
  onBackendDrain: () => undefined,
  onBackendLost: () => undefined,
};

test('no more connections are opened than the pool may have; who waits is served in order', async () => {
  const fake = make();
  const { servers } = fake;
  const pool = fake.of();
  const a = await pool.take(never);
  const b = await pool.take(never);
  const order: number[] = [];
  const third = pool.take(never).then(() => order.push(3));
  const fourth = pool.take(never).then(() => order.push(4));
  assert.equal(pool.tryTake(), null);
  pool.give(a);
  pool.give(b);
  await Promise.all([third, fourth]);
  assert.deepEqual(order, [3, 4]);
  assert.equal(servers.connections.length, 2);
});

test('a full queue and a wait that was too long are refused with 53300, naming the setting and the holders', async () => {
  const fake = make();
  const pool = fake.of();
  await pool.take(never);
  await pool.take(never);
  const waits = [pool.take(never), pool.take(never)];
  await assert.rejects(pool.take(never), (error) => error instanceof PoolFullError && error.sqlState === '53300');
  fake.pass(400);
  for (const wait of waits) {
    await assert.rejects(wait, (error) => {
      assert.ok(error instanceof PoolFullError);
      assert.match(error.message, /user "app" to database "app" on node1: none came free in 400 ms/);
      assert.match(error.detail ?? '', /2 of 2 connections \(proxy\.pool\.size\), 2 in use/);
      return true;
    });
  }
  assert.equal(pool.queue.size, 0);
});

test('a connection that cannot be opened fails those who wait for it, and the next attempt is paused', async () => {
  const fake = make(false);
  const { servers } = fake;
  const pool = fake.of();
  const attempts = Promise.allSettled([pool.take(never), pool.take(never)]);
  for (const connection of servers.connections) {
    connection.refuse(new LeaseholdError('BACKEND_UNREACHABLE', 'refused'));
  }
  assert.ok((await attempts).every(({ status }) => status === 'rejected'));
  const before = servers.connections.length;
  await assert.rejects(pool.take(never), { code: 'BACKEND_UNREACHABLE' });
  assert.equal(servers.connections.length, before);
});

test('who gives up does not keep its place in the queue', async () => {
  const pool = make().of();
  const a = await pool.take(never);
  await pool.take(never);
  const abort = new AbortController();
  const given = assert.rejects(pool.take(abort.signal), { message: 'gone' });
  const next = pool.take(never);
  abort.abort(new Error('gone'));
  await given;
  pool.give(a);
  assert.equal(await next, a);
});

test('closing a pool ends its connections, tells their users, and refuses who waits', async () => {
  const pool = make().of();
  const a = await pool.take(never);
  await pool.take(never);
  const waiting = assert.rejects(pool.take(never), { code: 'SQLSTATE_57P01' });
  let reason = '';
  a.attach({ ...deaf, onBackendLost: (loss) => (reason = loss.reason) });
  pool.close('term 1 is over');
  await waiting;
  assert.equal(reason, 'term 1 is over');
  assert.equal(pool.stock.all.size, 0);
  await settle();
  assert.equal(pool.size, 0);
});

test('idle and old connections are closed by the sweep, old ones each in its own time', async () => {
  const fake = make();
  const pool = fake.of();
  const a = await pool.take(never);
  pool.give(a);
  fake.nowMs += 500;
  pool.sweep(fake.nowMs);
  assert.equal(pool.stock.all.size, 1);
  fake.nowMs += 1_500;
  pool.sweep(fake.nowMs);
  assert.equal(pool.stock.all.size, 0);
  assert.equal(a.lifeShare, 0.95);
});

test('a connection given back in a transaction, or with an answer outstanding, is closed and never given to another', async () => {
  const fake = make();
  const { servers } = fake;
  const pool = fake.of();
  const a = await pool.take(never);
  a.attach(deaf);
  a.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
  pool.give(a);
  assert.equal(a.closed, true);
  servers.connections[0]?.close();
  const b = await pool.take(never);
  b.attach(deaf);
  b.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
  servers.connections[1]?.say(Buffer.from('Z\0\0\0\x05T', 'latin1'));
  pool.give(b);
  assert.equal(b.closed, true);
  servers.connections[1]?.close();
  const c = await pool.take(never);
  c.attach(deaf);
  c.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
  servers.connections[2]?.say(Buffer.from('Z\0\0\0\x05I', 'latin1'));
  pool.give(c);
  assert.equal(pool.tryTake(), c);
});

test('a connection given back twice is an invariant broken', async () => {
  const pool = make().of();
  const a = await pool.take(never);
  pool.give(a);
  assert.throws(() => pool.give(a), { code: 'INVARIANT' });
});

test('the reserve is opened only for who has waited long enough, and closed when nobody needs it', async () => {
  const fake = make(true, { size: 1, reserveSize: 1, reserveAfterMs: 200 });
  const pool = fake.of();
  const a = await pool.take(never);
  const waiting = pool.take(never);
  fake.pass(199);
  assert.equal(fake.servers.connections.length, 1);
  fake.pass(1);
  const b = await waiting;
  assert.equal(fake.servers.connections.length, 2);
  pool.give(b);
  assert.equal(b.closed, true);
  pool.give(a);
  assert.equal(a.closed, false);
  assert.equal(pool.tryTake(), a);
});

function make(prompt = true, pool: object = {}): FakePools {
  return new FakePools({ pool: { ...LIMITS.pool, ...pool } }, prompt);
}

test('who waits without a promise is served in the order of arrival with those who wait with one, and can leave', async () => {
  const fake = new FakePools({ pool: { size: 1 } });
  const pool = fake.of();
  const used = await pool.take(never);
  const served: string[] = [];
  const waiter = (name: string) => ({
    sinceMs: fake.nowMs,
    served: () => void served.push(name),
    refused: (error: Error) => void served.push(`${name}: ${error.message}`),
  });
  const gone = waiter('gone');
  assert.equal(pool.enqueue(gone), true);
  assert.equal(pool.enqueue(waiter('first')), true);
  const second = pool.take(never).then(() => served.push('second'));
  pool.queue.leave(gone);
  pool.give(used);
  assert.deepEqual(served, ['first']);
  pool.give(used);
  await second;
  assert.deepEqual(served, ['first', 'second']);
  pool.enqueue(waiter('last'));
  pool.close('the end');
  assert.deepEqual(served.slice(2), ['last: the end']);
  assert.equal(pool.enqueue(waiter('late')), false);
});
