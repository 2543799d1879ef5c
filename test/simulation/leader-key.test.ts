import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keysOf } from '../../election/store/keys.ts';
import { CLUSTER, type SimNode } from './node.ts';
import { World } from './world.ts';

/** What an administrator writes into the leader key hangs on no lease: it does not go with its holder. */
const VALUES = {
  'that names the leader': (leader: string) =>
    JSON.stringify({ node: leader, term: '1', bootId: 'an administrator', address: { host: leader, port: 5432 } }),
  'that is nonsense': () => 'what is this?',
};
/** Three nodes. */
const SEED = 11;

for (const [what, value] of Object.entries(VALUES)) {
  test(`a leader key without a lease, ${what}, does not stand in the way when its holder dies at once`, () => {
    const { world, leader } = atRest();
    overwriteLeaderKey(world, value(leader.name));
    leader.watchdog.process.kill();
    leader.postgres.die('power');
    leader.killAgent('power');
    const killedMs = world.scheduler.nowMs;
    const again = (): boolean => world.checks.lastAckMs > killedMs;
    assert.ok(world.runUntil(killedMs + 25_000, again), `nobody was elected\n${world.trace.last(60)}`);
  });

  test(`a leader key without a lease, ${what}, is made right by a holder that lives, and costs no election`, () => {
    const { world, leader } = atRest();
    const term = world.checks.highestTerm;
    overwriteLeaderKey(world, value(leader.name));
    world.runUntil(world.scheduler.nowMs + 15_000);
    assert.equal(world.checks.highestTerm, term);
    assert.ok(world.checks.lastAckMs > world.scheduler.nowMs - 2000, 'writes stopped');
  });
}

function atRest(): { readonly world: World; readonly leader: SimNode } {
  const world = new World(SEED, { traceLines: 200 });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const leader = [...world.nodes.values()].find((n) => n.postgres.acceptsWrites);
  assert.ok(leader !== undefined, `nobody leads after ten seconds\n${world.trace.last(100)}`);
  return { world, leader };
}

function overwriteLeaderKey(world: World, value: string): void {
  const key = keysOf(CLUSTER).leader;
  // The checks take whatever stands there for an agent's doing.
  world.etcd.onChange = (snapshot) => {
    if (snapshot.keys.get(key)?.value !== value) world.checks.stored(snapshot);
  };
  world.etcd.state.transact(world.scheduler.nowMs, { compare: [], then: [{ type: 'put', key, value }] });
}
