import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loseSlots } from './admission.ts';
import { World } from './world.ts';

const SEED = 11; // three nodes

test('a follower that was away until its slot was lost streams again in the same term, by a new one', () => {
  const world = new World(SEED, { traceLines: 500 });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const nodes = [...world.nodes.values()];
  const leader = nodes.find((n) => n.postgres.acceptsWrites);
  const follower = nodes.find((n) => n !== leader);
  assert.ok(leader !== undefined && follower !== undefined, world.trace.last(50));
  const { term } = leader.postgres;
  follower.postgres.die('power');
  follower.killAgent('power');
  world.runUntil(30_000);
  loseSlots(leader.postgres);
  follower.startAgent();
  const streams = () => follower.postgres.receiver?.streaming === true;
  assert.ok(world.runUntil(50_000, streams), world.trace.last(50));
  assert.equal(leader.postgres.term, term);
});
