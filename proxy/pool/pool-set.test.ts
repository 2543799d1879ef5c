import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { ClientError } from '../../common/errors.ts';
import { monotonicClock } from '../../common/clock.ts';
import type { Credentials } from '../auth/types.ts';
import { PoolSet } from './pool-set.ts';

const never = new AbortController().signal;
const OLD: Credentials = { kind: 'password', password: 'old' };
const NEW: Credentials = { kind: 'password', password: 'new' };

test('after a login with a new password every pool of the user opens its connections with that', async () => {
  const tried: Credentials[] = [];
  const pools = new PoolSet({
    tls: { mode: 'disable' },
    limits: {
      size: 2,
      maxWaiting: 2,
      waitTimeoutMs: 100,
      idleTimeoutMs: 1000,
      maxLifetimeMs: 10_000,
      connectTimeoutMs: 100,
    },
    clock: monotonicClock,
    logger: pino({ level: 'silent' }),
    login: async ({ credentials }) => {
      tried.push(credentials);
      throw new ClientError({ sqlState: '28P01', message: 'refused' });
    },
  });
  const poolOf = (node: string, credentials: Credentials) =>
    pools.poolOf({ node, host: 'h', port: 1, role: 'follower', term: null }, 'app', 'app', credentials);
  const attempt = (node: string, credentials: Credentials) =>
    assert.rejects(poolOf(node, credentials).take(never), { sqlState: '28P01' });
  pools.noteLogin('app', OLD);
  await attempt('node1', OLD);
  pools.noteLogin('app', NEW);
  pools.noteLogin('other', OLD);
  await attempt('node1', NEW);
  // Sessions from before the change go on using the pools, and open new ones.
  await attempt('node2', OLD);
  assert.deepEqual(tried, [OLD, NEW, NEW]);
  pools.close();
});
