import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGGRESSIVE, DEFAULT, haproxyConfig, isInStep, type Member } from './config.ts';

const nodes = [{ name: 'a', folder: '/x', postgresPort: 5001, restPort: 8001 }];
const members: Member[] = [
  { name: 'a', role: 'leader', state: 'running', timeline: 2 },
  { name: 'b', role: 'sync_standby', state: 'running', timeline: 2 },
  { name: 'c', role: 'replica', state: 'streaming', timeline: 2 },
];
const without = (name: string, change: Partial<Member>) =>
  members.map((one) => (one.name === name ? { ...one, ...change } : one));

test('Patroni is in step with a leader, a synchronous standby and everybody on one timeline', () => {
  assert.ok(isInStep(members, 3));
  assert.ok(!isInStep(members.slice(0, 2), 3));
  assert.ok(!isInStep(without('c', { state: 'starting' }), 3));
  assert.ok(!isInStep(without('c', { timeline: 1 }), 3));
  assert.ok(!isInStep(without('b', { role: 'replica' }), 3));
  assert.ok(!isInStep(without('a', { role: 'replica' }), 3));
});

test('the timings keep the rule of Patroni’s documentation', () => {
  for (const { timings } of [DEFAULT, AGGRESSIVE])
    assert.ok(timings.loop_wait + 2 * timings.retry_timeout <= timings.ttl);
});

test('HAProxy asks the REST API of each member, not its PostgreSQL', () => {
  const text = haproxyConfig(DEFAULT, 5000, nodes);
  assert.match(text, /OPTIONS \/primary/);
  assert.match(text, /server a 127\.0\.0\.1:5001 maxconn 100 check port 8001/);
  assert.match(text, /inter 3s fall 3 rise 2 on-marked-down shutdown-sessions/);
});
