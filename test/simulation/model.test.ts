import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ensureSlots, lead } from './admission.ts';
import { InvariantViolation } from './context.ts';
import { checkpoint, clone, rewind } from './copies.ts';
import type { SimPostgres } from './postgres.ts';
import { SimProcess } from './process.ts';
import { Random } from './random.ts';
import { lsnAt } from './wal.ts';
import { World } from './world.ts';

/** A world whose agents never start: its parts are driven by hand. Server `a` leads, `b` and `c` follow it. */
function threeServers(): { world: World; a: SimPostgres; b: SimPostgres; c: SimPostgres } {
  const world = new World(4, {});
  world.clients.writing = false;
  const [a, b, c] = ['a', 'b', 'c'].map((n) => world.postgres(n)) as [SimPostgres, SimPostgres, SimPostgres];
  for (const server of [a, b, c]) {
    const first = { timeline: 1, endLsn: 64n, kind: 'init', value: 0 } as const;
    Object.assign(server.disk, { kind: 'data', systemId: 's', timeline: 1, knownTimeline: 1, controlTimeline: 1 });
    Object.assign(server.disk, { wal: [SHARED.get(world) ?? first], flushed: 1 });
    SHARED.set(world, server.disk.wal[0]);
  }
  for (const server of [a, b, c]) {
    lead(server, 0); // each may: by its slots it would be told apart
    ensureSlots(server, 0, ['a', 'b', 'c']);
  }
  a.launch('leader', null, () => {});
  b.launch('follower', { node: 'a', term: 0 }, () => {});
  c.launch('follower', { node: 'a', term: 0 }, () => {});
  world.runUntil(1500);
  return { world, a, b, c };
}
const SHARED = new WeakMap<World, SimPostgres['disk']['wal'][number] | undefined>();

function commits(world: World, server: SimPostgres, forMs: number): boolean {
  let acknowledged = false;
  server.commit('write', 1, () => {
    acknowledged = true;
  });
  world.runUntil(world.scheduler.nowMs + forMs);
  return acknowledged;
}

test('a commit is acknowledged by the quorum, and by nobody while the quorum is cut off', () => {
  const { world, a, b } = threeServers();
  a.setSynchronous(['b', 'c'], 1, () => {});
  world.runUntil(world.scheduler.nowMs + 50);
  assert.ok(commits(world, a, 300));
  world.network.block('a', 'b');
  world.network.block('a', 'c');
  assert.ok(!commits(world, a, 2000));
  world.network.unblock('a', 'b');
  world.network.unblock('a', 'c');
  world.runUntil(world.scheduler.nowMs + 500);
  assert.equal(b.disk.flushed, a.disk.flushed);
});

test('a server that is ahead of the fork is refused, rewound, and then follows', () => {
  const { world, a, b } = threeServers();
  b.follow(null, () => {});
  world.runUntil(world.scheduler.nowMs + 50);
  assert.ok(commits(world, a, 100)); // nobody is synchronous: acknowledged by a alone
  a.die('test');
  b.promote(() => {});
  world.runUntil(world.scheduler.nowMs + 100);
  assert.equal(b.disk.timeline, 2);
  a.launch('follower', { node: 'b', term: 0 }, () => {});
  world.runUntil(world.scheduler.nowMs + 1500);
  assert.ok(!(a.receiver?.streaming ?? false));
  a.die('test');
  checkpoint(b, () => {});
  world.runUntil(world.scheduler.nowMs + 100);
  // Whether the WAL of the common past is still there is drawn: until it is.
  for (let tries = 0; a.disk.timeline !== 2 && tries < 5; tries++) {
    rewind({ context: world, target: a, alive: () => true }, b, () => {});
    world.runUntil(world.scheduler.nowMs + 600);
  }
  a.launch('follower', { node: 'b', term: 0 }, () => {});
  world.runUntil(world.scheduler.nowMs + 1500);
  assert.ok(a.receiver?.streaming);
  assert.equal(lsnAt(a.disk, a.disk.flushed), lsnAt(b.disk, b.disk.flushed));
});

test('a foreign timeline of the same number is streamed over as PostgreSQL would, and reported', () => {
  const { world, a, b, c } = threeServers();
  a.die('test');
  for (const server of [b, c]) server.follow(null, () => {});
  world.runUntil(world.scheduler.nowMs + 50);
  for (const server of [b, c]) server.promote(() => {});
  world.runUntil(world.scheduler.nowMs + 100);
  for (let i = 0; i < 20; i++) commits(world, c, 10);
  b.die('test');
  b.launch('follower', { node: 'c', term: 0 }, () => {});
  assert.throws(
    () => world.runUntil(world.scheduler.nowMs + 1500),
    (error) => error instanceof InvariantViolation && error.invariant === 'S8',
  );
});

test('a former leader whose data were replaced is not streamed from, neither as a follower nor when it leads again', () => {
  const { world, a, b, c } = threeServers();
  const pause = (ms: number) => world.runUntil(world.scheduler.nowMs + ms);
  a.die('test');
  b.follow(null, () => {});
  // Nobody tells c: its agent is cut off.
  lead(b, 1);
  b.promote(() => {});
  c.follow({ node: 'b', term: 1 }, () => {});
  pause(100);
  ensureSlots(b, 1, ['a', 'c']);
  pause(500);
  assert.ok(c.receiver?.streaming);
  b.die('test');
  a.launch('leader', null, () => {});
  pause(500);
  clone({ context: world, target: b, alive: () => true }, a, null, () => {});
  pause(1000);
  b.launch('follower', null, () => {});
  pause(2000);
  assert.equal(b.senders.size, 0);
  lead(b, 2);
  b.promote(() => {});
  ensureSlots(b, 2, ['a', 'c']);
  pause(2000);
  assert.ok(b.door.leads && b.disk.timeline === c.disk.timeline, 'the numbers say that it is the same timeline');
  assert.equal(b.senders.size, 0);
  b.door.slotsAreLoose = true;
  assert.throws(
    () => pause(2000),
    (error) => error instanceof InvariantViolation && error.invariant === 'S8',
  );
});

test('what reaches a stopped process waits in order, what was meant for an earlier life is lost', () => {
  const process = new SimProcess();
  const seen: number[] = [];
  process.start();
  const { life } = process;
  process.stop();
  process.deliver(life, () => seen.push(1));
  process.deliver(life, () => seen.push(2));
  assert.equal(seen.join(), '');
  process.resume();
  assert.equal(seen.join(), '1,2');
  process.kill();
  process.start();
  process.deliver(life, () => seen.push(3));
  assert.equal(seen.join(), '1,2');
});

test('random numbers depend on the seed alone and are spread evenly', () => {
  const draw = (seed: number) => Array.from({ length: 5 }, (_, i) => [i, new Random(seed).next()]);
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  const random = new Random(1);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 40_000; i++) counts[random.below(4)] = (counts[random.below(4)] ?? 0) + 1;
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, String(counts));
});
