import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakePools, follower, never } from '../../test/support/fake-pools.ts';

test('after a change of a role’s defaults connections from before it are replaced, and those of a late follower once more', async () => {
  const fake = new FakePools({});
  assert.equal(fake.pools.noteDefaults('app', 'app', 'work_mem=1MB'), -Infinity);
  const leader = fake.of('app', 'app', { ...follower('node1'), role: 'leader' });
  const late = fake.of('app', 'app', follower('node2'));
  const other = fake.of('other', 'app', follower('node2'));
  const used = await leader.take(never);
  const idle = await leader.take(never);
  leader.give(idle);
  const untouched = await other.take(never);
  other.give(untouched);
  assert.equal(fake.pools.noteDefaults('app', 'app', 'work_mem=1MB'), -Infinity);
  assert.equal(idle.closed, false);

  fake.nowMs += 10;
  const changedAtMs = fake.pools.noteDefaults('app', 'app', 'work_mem=2MB');
  assert.equal(changedAtMs, fake.nowMs);
  assert.deepEqual([idle.closed, used.closed, untouched.closed], [true, false, false]);
  leader.give(used);
  assert.equal(used.closed, true);

  // The follower does not show the change yet, and neither does what is opened on it now.
  const stale = await late.take(never);
  late.give(stale);
  const nodes = (freshAsOfMs: number) => [
    { node: 'node1', usable: true, unreachableSinceMs: null, freshAsOfMs: Infinity },
    { node: 'node2', usable: true, unreachableSinceMs: null, freshAsOfMs },
  ];
  fake.pools.noteNodes(nodes(changedAtMs - 1));
  assert.equal(stale.closed, false);
  fake.nowMs += 10;
  fake.pools.noteNodes(nodes(changedAtMs));
  assert.equal(stale.closed, true);
  const fresh = await late.take(never);
  late.give(fresh);
  fake.pools.noteNodes(nodes(changedAtMs + 5));
  assert.deepEqual([fresh.closed, untouched.closed], [false, false]);
  assert.equal(fake.pools.noteDefaults('app', 'app', 'work_mem=2MB'), changedAtMs);
});

test('connections that were there before the defaults were known are replaced', async () => {
  const fake = new FakePools({});
  const pool = fake.of();
  const idle = await pool.take(never);
  pool.give(idle);
  assert.equal(fake.pools.noteDefaults('app', 'app', ''), fake.nowMs);
  assert.equal(idle.closed, true);
});
