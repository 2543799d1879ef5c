import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { pino } from 'pino';
import { LeaseholdError } from '../../common/errors.ts';
import { monotonicClock } from '../../common/clock.ts';
import type { BackendLogin } from '../auth/types.ts';
import { Pool, PoolFullError, type PoolLimits } from './pool.ts';

const LIMITS: PoolLimits = {
  size: 2,
  maxWaiting: 2,
  waitTimeoutMs: 40,
  idleTimeoutMs: 1000,
  maxLifetimeMs: 10_000,
  connectTimeoutMs: 100,
};

function fakeLogin(): BackendLogin {
  const socket = Object.assign(new EventEmitter(), {
    writable: true,
    writableNeedDrain: false,
    resume: () => undefined,
    pause: () => undefined,
    write: () => true,
    end: () => undefined,
    destroy: () => undefined,
  });
  return {
    socket: socket as unknown as BackendLogin['socket'],
    processId: 1,
    secretKey: Buffer.alloc(4),
    parameters: new Map(),
    protocolMinor: 0,
  };
}

function poolOf(login: () => Promise<BackendLogin>, limits: Partial<PoolLimits> = {}): Pool {
  return new Pool({
    place: { node: 'node1', host: 'h', port: 1, role: 'leader', term: null },
    user: 'app',
    database: 'app',
    credentials: { kind: 'password', password: 'x' },
    tls: { mode: 'disable' },
    limits: { ...LIMITS, ...limits },
    clock: monotonicClock,
    logger: pino({ level: 'silent' }),
    login,
  });
}

const never = new AbortController().signal;

test('no more connections are opened than the pool may have; who waits is served in order', async () => {
  let opened = 0;
  const pool = poolOf(async () => {
    opened += 1;
    return fakeLogin();
  });
  const a = await pool.take(never);
  const b = await pool.take(never);
  const order: number[] = [];
  const third = pool.take(never).then((backend) => {
    order.push(3);
    return backend;
  });
  const fourth = pool.take(never).then((backend) => {
    order.push(4);
    return backend;
  });
  assert.equal(pool.tryTake(), null);
  pool.give(a);
  pool.give(b);
  await Promise.all([third, fourth]);
  assert.deepEqual(order, [3, 4]);
  assert.equal(opened, 2);
});

test('a full queue and a wait that was too long are refused with 53300', async () => {
  const pool = poolOf(async () => fakeLogin());
  await pool.take(never);
  await pool.take(never);
  const waits = [pool.take(never), pool.take(never)];
  await assert.rejects(pool.take(never), (error) => error instanceof PoolFullError && error.sqlState === '53300');
  for (const wait of waits) await assert.rejects(wait, PoolFullError);
  assert.equal(pool.counts.waiting, 0);
});

test('a connection that cannot be opened fails those who wait for it, and the next attempt is paused', async () => {
  let attempts = 0;
  const pool = poolOf(async () => {
    attempts += 1;
    throw new LeaseholdError('BACKEND_UNREACHABLE', 'refused');
  });
  const failures = await Promise.allSettled([pool.take(never), pool.take(never)]);
  assert.ok(failures.every(({ status }) => status === 'rejected'));
  const before = attempts;
  await assert.rejects(pool.take(never), { code: 'BACKEND_UNREACHABLE' });
  assert.equal(attempts, before);
});

test('who gives up does not keep its place in the queue', async () => {
  const pool = poolOf(async () => fakeLogin(), { waitTimeoutMs: 5_000 });
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
  const pool = poolOf(async () => fakeLogin());
  const a = await pool.take(never);
  await pool.take(never);
  const waiting = assert.rejects(pool.take(never), { code: 'SQLSTATE_57P01' });
  let reason = '';
  a.attach({
    onBackendMessage: () => undefined,
    onBackendPart: () => undefined,
    onBackendChunkEnd: () => undefined,
    onBackendDrain: () => undefined,
    onBackendLost: (loss) => {
      reason = loss.reason;
    },
  });
  pool.close('term 1 is over');
  await waiting;
  assert.equal(reason, 'term 1 is over');
  assert.equal(pool.counts.all, 0);
});

test('idle and old connections are closed by the sweep', async () => {
  const pool = poolOf(async () => fakeLogin());
  const a = await pool.take(never);
  pool.give(a);
  pool.sweep(monotonicClock.nowMs() + 500);
  assert.equal(pool.counts.all, 1);
  pool.sweep(monotonicClock.nowMs() + 2_000);
  assert.equal(pool.counts.all, 0);
});
