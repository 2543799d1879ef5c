import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Step } from '../../election/core/types.ts';
import type { Operation } from '../../election/store/port.ts';
import { decodeRecord, encodeRecord, historyRecord, pauseRecord } from '../../election/store/records.ts';
import type { SimNode } from './node.ts';
import { Operator } from './operator.ts';
import { acquireWithout, keys } from './planted.ts';
import { World } from './world.ts';

// Three nodes (not five), clocks that hardly drift.
const SEED = 11;

/** Three nodes at rest, automatic failover paused. */
function paused(): { world: World; leader: SimNode; operator: Operator } {
  const world = new World(SEED, { traceLines: 300 });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const operator = new Operator(world, world.etcd);
  operator.pause();
  world.runUntil(11_000);
  return { world, leader: leaderOf(world), operator };
}

function leaderOf(world: World): SimNode {
  const leader = [...world.nodes.values()].find((n) => n.postgres.acceptsWrites);
  assert.ok(leader !== undefined, `nobody leads\n${world.trace.last(60)}`);
  return leader;
}

/** Until something is acknowledged again in a later term; by whom. */
function nextLeader(world: World, withinMs: number): SimNode {
  const fromMs = world.scheduler.nowMs;
  const { highestTerm } = world.checks;
  const again = () => world.checks.highestTerm > highestTerm && world.checks.lastAckMs > fromMs;
  assert.ok(world.runUntil(fromMs + withinMs, again), `no write within ${withinMs} ms\n${world.trace.last(100)}`);
  return leaderOf(world);
}

test('E14: in a pause the leader whose PostgreSQL crashed leads again, and at once', () => {
  const { world, leader } = paused();
  leader.postgres.die('kill -9');
  assert.equal(nextLeader(world, 2000), leader);
});

test('E14: in a pause nobody takes over from a leader that is gone, and says so; after it somebody does', () => {
  const { world, leader, operator } = paused();
  leader.watchdog.process.kill();
  leader.postgres.die('power');
  leader.killAgent('power');
  const before = world.checks.lastAckMs;
  world.runUntil(world.scheduler.nowMs + 30_000);
  assert.equal(world.checks.lastAckMs, before);
  const others = [...world.nodes.values()].filter((n) => n !== leader);
  const said = others.map(({ state }) => state?.note ?? '').join('\n');
  assert.match(said, new RegExp(`paused \\(by operator.*waits for ${leader.name}, or for "leasehold resume"`));
  operator.resume();
  assert.notEqual(nextLeader(world, 5000), leader);
});

test('E14: in a pause a leader that etcd does not answer is fenced as ever, and leads again when etcd is back', () => {
  const { world, leader } = paused();
  world.etcd.process.stop();
  world.runUntil(world.scheduler.nowMs + 8000);
  assert.equal(leader.postgres.acceptsWrites, false);
  world.etcd.resume();
  assert.equal(nextLeader(world, 9000), leader);
});

/** Three nodes; a pause is put down when an acquire transaction is on its way. */
function pausedInThatMoment(planted: (step: Step) => Step): World {
  let world: World | null = null;
  const step =
    (real: Step): Step =>
    (state, input) => {
      const result = real(state, input);
      const acquires = result.effects.some((e) => e.type === 'transact' && isFailover(e.transaction.then));
      if (acquires && world !== null) {
        const value = encodeRecord(pauseRecord, { by: 'operator', reason: null, at: 'now' });
        world.etcd.state.transact(world.scheduler.nowMs, {
          compare: [],
          then: [{ type: 'put', key: keys.pause, value }],
        });
      }
      return result;
    };
  world = new World(SEED, { planted: { step: (real) => step(planted(real)) } });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  leaderOf(world).postgres.die('kill -9');
  return world;
}

function isFailover(operations: readonly Operation[]): boolean {
  return operations.some((o) => o.type === 'put' && decodeRecord(historyRecord, o.value)?.reason === 'failover');
}

test('E14: a pause that is put down while somebody acquires counts: the transaction compares it', () => {
  const world = pausedInThatMoment((step) => step);
  world.runUntil(20_000);
  assert.ok(world.etcd.state.readAll(0, keys.pause).keys.size > 0, 'nobody tried');
  const blind = acquireWithout((key) => key === keys.pause).step;
  assert.ok(blind !== undefined);
  const broken = pausedInThatMoment(blind);
  assert.throws(() => broken.runUntil(20_000), /E14: . takes over term 2 while automatic failover is paused/);
});

test('in a pause a switchover works, and a failover asked of the leader is refused', () => {
  const { world, leader, operator } = paused();
  const { highestTerm } = world.checks;
  leader.give({ type: 'command', command: 'failover' });
  world.runUntil(world.scheduler.nowMs + 3000);
  assert.equal(world.checks.highestTerm, highestTerm);
  operator.switchover(null);
  assert.notEqual(nextLeader(world, 3000), leader);
});

test('in a pause a PostgreSQL that does not answer keeps its lease', () => {
  const { world, leader } = paused();
  const { highestTerm } = world.checks;
  leader.postgres.process.stop();
  world.runUntil(world.scheduler.nowMs + 20_000);
  assert.equal(leader.state?.mode.kind, 'LEADER_OPEN');
  leader.postgres.process.resume();
  world.runUntil(world.scheduler.nowMs + 2000);
  assert.equal(world.checks.highestTerm, highestTerm);
});

test('in a pause a node whose PostgreSQL does not start is left to the operator, and cloned after it', () => {
  const { world, leader, operator } = paused();
  const other = [...world.nodes.values()].find((n) => n !== leader) as SimNode;
  other.diskFull = true;
  other.postgres.die('kill -9');
  world.runUntil(world.scheduler.nowMs + 40_000);
  assert.equal(other.state?.mode.kind, 'FENCED');
  operator.resume();
  world.runUntil(world.scheduler.nowMs + 200);
  other.diskFull = false;
  world.runUntil(world.scheduler.nowMs + 10_000);
  assert.match(
    world.trace.last(300),
    new RegExp(`${other.name} .*clones from ${leader.name}: PostgreSQL does not start`),
  );
  assert.equal(other.state?.note, null);
});
