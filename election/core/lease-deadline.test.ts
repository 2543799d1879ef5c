import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FENCE_BEFORE_MS, KILL_BEFORE_MS, leaseDeadline, leaseIsFresh, RENEW_EVERY_MS } from './lease-deadline.ts';

const config = { ttlMs: 3000, marginMs: 400 };

test('E2: the deadline counts from when the older of keep-alive and guarded write was sent', () => {
  assert.equal(leaseDeadline(config, { keptAtMs: 1000, guardedAtMs: 1200 }), 3600);
  assert.equal(leaseDeadline(config, { keptAtMs: 1200, guardedAtMs: 1000 }), 3600);
});

test('there is time for two failed renewals before a leader must stop', () => {
  const held = { keptAtMs: 0, guardedAtMs: 0 };
  assert.ok(leaseDeadline(config, held) - FENCE_BEFORE_MS > 3 * RENEW_EVERY_MS);
  assert.ok(FENCE_BEFORE_MS > KILL_BEFORE_MS);
});

test('a lease that was granted a while ago is not run with', () => {
  assert.equal(leaseIsFresh(config, 1000, 1100), true);
  assert.equal(leaseIsFresh(config, 1000, 1000 + config.ttlMs / 2), false);
});
