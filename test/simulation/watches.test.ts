import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from './world.ts';

const SEED = 11; // three nodes

/** Every watch is lost, and while clients ask for new ones etcd compacts all the time; then the leader's PostgreSQL is killed. */
function compactedAndKilled(compactedIsForever: boolean): { readonly refused: number; readonly failedOver: boolean } {
  const world = new World(SEED, { traceLines: 50_000, planted: { compactedIsForever } });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const leader = [...world.nodes.values()].find((n) => n.postgres.acceptsWrites);
  assert.ok(leader !== undefined);
  world.etcd.breakWatches(1);
  const again = (): void => {
    // Somebody else writes a lot.
    const put = { type: 'put', key: '/elsewhere', value: '' } as const;
    for (let i = 0; i < 3; i++) world.etcd.state.transact(world.scheduler.nowMs, { compare: [], then: [put] });
    world.etcd.compact();
    if (world.scheduler.nowMs < 16_000) world.scheduler.after(0.5, again);
  };
  again();
  world.runUntil(18_000);
  const refused = world.trace.last(50_000).split('its watch was compacted').length - 1;
  const term = world.checks.highestTerm;
  leader.postgres.die('kill -9');
  return { refused, failedOver: world.runUntil(22_000, () => world.checks.highestTerm > term) };
}

test('a client whose watch is refused after a compaction reads anew, and knows at once what happens next', () => {
  const { refused, failedOver } = compactedAndKilled(false);
  assert.ok(refused >= 3, `${refused} watches were refused`);
  assert.ok(failedOver);
});

test('a failover does not come about where a client whose watch was compacted hears no more', () => {
  assert.equal(compactedAndKilled(true).failedOver, false);
});
