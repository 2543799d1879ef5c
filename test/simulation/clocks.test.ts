import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimClock } from './clock.ts';
import { runSeed, World } from './world.ts';

/** Three nodes at rest after ten seconds. */
function atRest(seed: number) {
  const world = new World(seed, { traceLines: 500 });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const leader = [...world.nodes.values()].find((n) => n.postgres.acceptsWrites);
  assert.ok(leader !== undefined, world.trace.last(100));
  return { world, leader };
}

const SEED = 11; // three nodes

test('a leader whose clock stands still keeps PostgreSQL open past its lease, and can acknowledge nothing any more', () => {
  const { world, leader } = atRest(SEED);
  const { term } = leader.postgres;
  leader.watchdog.disturbed(); // I10 is not to be kept here
  leader.clock.stop();
  world.network.block('etcd', leader.name);
  world.network.block(leader.name, 'etcd');
  assert.ok(
    world.runUntil(30_000, () => world.checks.highestTerm > term),
    world.trace.last(100),
  );
  assert.ok(leader.postgres.acceptsWrites, 'nobody has ended it: no clock told anybody to');
  // I1 is checked at each acknowledgement: one of the old term would throw.
  world.runUntil(world.scheduler.nowMs + 5000);
  assert.ok(leader.postgres.acceptsWrites && leader.postgres.term === term);
  leader.clock.resume();
  world.network.unblock('etcd', leader.name);
  world.network.unblock(leader.name, 'etcd');
  world.runUntil(world.scheduler.nowMs + 10_000);
  assert.ok(leader.postgres.recovery, 'it follows');
});

// Seed 103747, before slots were made anew: a machine that had lost time let clients in for some milliseconds, and was no leader any more.
test('who lets clients in late because its clock stood still is excused, who acknowledges is not', () => {
  const { world, leader } = atRest(SEED);
  const { term } = leader.postgres;
  world.checks.highestTerm = term + 1;
  assert.throws(() => world.checks.opens(leader.name, term), { invariant: 'I1' });
  leader.clock.stop();
  world.checks.opens(leader.name, term);
  assert.throws(() => world.checks.acknowledge(leader.name, term, 1_000_000), { invariant: 'I1' });
});

test('a leader whose clock jumps past its deadline fences itself at once, and another one leads', () => {
  const { world, leader } = atRest(SEED);
  const { term } = leader.postgres;
  const jumpedMs = world.scheduler.nowMs;
  leader.clock.jumpAhead(10_000);
  assert.ok(
    world.runUntil(jumpedMs + 200, () => !leader.postgres.acceptsWrites),
    world.trace.last(50),
  );
  assert.ok(
    world.runUntil(jumpedMs + 10_000, () => world.checks.highestTerm > term),
    world.trace.last(50),
  );
});

test('a clock that stood still goes on from where it stood', () => {
  let trueMs = 100;
  const clock = new SimClock(() => trueMs, 1, 1000);
  clock.stop();
  clock.stop();
  trueMs = 200;
  clock.resume();
  assert.equal(clock.nowMs, 1100);
  assert.ok(clock.standsStill);
  clock.resume();
  trueMs = 250;
  assert.equal(clock.nowMs, 1150);
  clock.jumpAhead(500);
  assert.equal(clock.nowMs, 1650);
});

test('nothing depends on the wall clock: it may say what it likes', () => {
  const sane = runSeed(7);
  const years = ['1970-01-01T00:00:00.000Z', '2099-12-31T23:59:59.999Z', 'never'];
  let asked = 0;
  const mad = runSeed(7, { wallTime: () => years[asked++ % years.length] ?? '' });
  assert.ok(asked > 1000);
  assert.equal(mad.hash, sane.hash);
});
