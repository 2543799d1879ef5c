import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BalanceSimulation } from '../../test/support/balance-simulation.ts';
import { exampleFollower, exampleSnapshot } from '../../test/support/freshness.ts';
import { chooseFollower } from './choose-node.ts';
import {
  costOf,
  newNodeLoad,
  type NodeLoad,
  noteServing,
  onAnswered,
  onAsked,
  onFailed,
  shareOf,
} from './node-load.ts';

const SEEDS = [1, 2, 3];
const near = (share: number | undefined, expected: number, by: number): void =>
  assert.ok(Math.abs((share ?? 0) - expected) <= by, `${share} is not ${expected} ± ${by}`);

for (const seed of SEEDS) {
  test(`three followers of one speed share the reads evenly (seed ${seed})`, () => {
    const shares = new BalanceSimulation(seed, { a: 2, b: 2, c: 2 }).run(20_000, 1);
    for (const name of ['a', 'b', 'c']) near(shares[name], 1 / 3, 0.05);
  });

  test(`followers of different speeds get reads as they can answer them (seed ${seed})`, () => {
    const simulation = new BalanceSimulation(seed, { fast: 1, middle: 2, slow: 8 });
    simulation.run(20_000, 0.8);
    const shares = simulation.run(20_000, 0.8);
    const [fast, middle, slow] = [shares['fast'] ?? 0, shares['middle'] ?? 0, shares['slow'] ?? 0];
    assert.ok(fast > middle && middle > slow && slow > 0, JSON.stringify(shares));
    assert.ok(fast > 0.5 && slow < 0.15, JSON.stringify(shares));
  });

  test(`a follower that stalls is left at once, and used again when it answers (seed ${seed})`, () => {
    const simulation = new BalanceSimulation(seed, { a: 2, b: 2, c: 2 });
    simulation.run(5_000, 1);
    const stalled = simulation.server('c');
    stalled.serviceMs = null;
    simulation.run(20_000, 1);
    assert.ok(stalled.served < 40, `${stalled.served} reads hang`);
    simulation.recover(stalled, 2);
    simulation.run(30_000, 1);
    near(simulation.run(10_000, 1)['c'], 1 / 3, 0.08);
  });

  test(`a follower that dies costs some attempts, and comes back by itself, slowly (seed ${seed})`, () => {
    const simulation = new BalanceSimulation(seed, { a: 2, b: 2, c: 2 });
    simulation.run(5_000, 1);
    const dead = simulation.server('c');
    dead.serviceMs = Infinity;
    simulation.run(1_000, 1);
    assert.ok(simulation.failures >= 1 && simulation.failures <= 3, `${simulation.failures} failures`);
    dead.usable = false; // the monitor has seen it
    near(simulation.run(10_000, 1)['c'], 0, 0);
    dead.serviceMs = 2;
    dead.usable = true;
    const first = simulation.run(1_500, 1)['c'] ?? 0;
    assert.ok(first < 0.2, `${first} at once`);
    simulation.run(40_000, 1);
    near(simulation.run(10_000, 1)['c'], 1 / 3, 0.05);
  });

  test(`weights are shares where nobody is busy, and where all are (seed ${seed})`, () => {
    for (const everyMs of [10, 1.2]) {
      const simulation = new BalanceSimulation(seed, { a: 2, b: 2, c: 2 });
      simulation.server('a').load.weight = 2;
      simulation.server('c').load.weight = 0;
      simulation.run(12_000, everyMs);
      const shares = simulation.run(40_000, everyMs);
      near(shares['a'], everyMs === 10 ? 2 / 3 : 0.58, 0.09);
      near(shares['c'], 0, 0);
    }
  });

  test(`the own zone comes first, unless it is far slower (seed ${seed})`, () => {
    const simulation = new BalanceSimulation(seed, { near: 2, far: 2 });
    simulation.server('far').load.foreign = true;
    near(simulation.run(5_000, 4)['near'], 1, 0);
    simulation.server('near').serviceMs = 50;
    simulation.run(2_000, 4);
    assert.ok((simulation.run(5_000, 4)['far'] ?? 0) > 0.5);
    simulation.server('near').usable = false;
    near(simulation.run(1_000, 4)['far'], 1, 0);
  });
}

test('all that fail are never all put aside, and one without weight serves when it is alone', () => {
  const simulation = new BalanceSimulation(1, { a: 2, b: 2 });
  for (const { load } of simulation.servers) onFailed(load, simulation.nowMs, true);
  simulation.run(100, 1);
  simulation.server('a').usable = false;
  simulation.server('b').load.weight = 0;
  assert.equal(simulation.run(100, 1)['b'], 1);
});

test('a follower that takes no more WAL serves only while no other streams', () => {
  const simulation = new BalanceSimulation(1, { a: 2, b: 2 });
  simulation.server('a').streaming = false;
  assert.equal(simulation.run(500, 1)['a'], 0);
  simulation.server('b').streaming = false; // no leader: nobody streams, and reads go on everywhere
  assert.ok((simulation.run(500, 1)['a'] ?? 0) > 0.2);
});

test('a single failure among answers does not put a follower aside, three in a row do, for longer each time', () => {
  const load = newNodeLoad();
  onFailed(load, 1_000, false);
  onAsked(load, 1_000);
  onAnswered(load, 1_000, 1_001);
  onFailed(load, 1_002, false);
  onFailed(load, 1_003, false);
  assert.equal(load.ejectedUntilMs, -Infinity);
  onFailed(load, 1_004, false);
  assert.equal(load.ejectedUntilMs, 2_004);
  onFailed(load, 2_004, true);
  assert.equal(load.ejectedUntilMs, 4_004);
  for (let i = 0; i < 10; i += 1) onFailed(load, load.ejectedUntilMs, true);
  const before = load.ejectedUntilMs;
  onFailed(load, before, true);
  assert.equal(load.ejectedUntilMs, before + 30_000);
});

test('a follower that was gone and is back is not kept aside for what failed while it was gone', () => {
  const load = newNodeLoad();
  noteServing(load, true, 0);
  for (let nowMs = 1_000; nowMs < 60_000; nowMs += 1_000) onFailed(load, nowMs, true);
  noteServing(load, true, 60_000);
  assert.ok(load.ejectedUntilMs > 60_000, 'the monitor reaches it all the time, and this proxy does not');
  noteServing(load, false, 60_001);
  noteServing(load, true, 60_002);
  assert.ok(load.ejectedUntilMs < 60_002);
  assert.ok(shareOf(load, 60_002) < 0.2, 'but it starts slowly');
});

test('one long statement does not make its node the slowest for long, and no answer at all counts at once', () => {
  const load = newNodeLoad();
  onAsked(load, 0);
  onAnswered(load, 0, 60_000);
  assert.ok(costOf(load, 1, 60_000) <= 250);
  assert.ok(costOf(load, 1, 90_000) < 1);
  onAsked(load, 90_000);
  assert.equal(costOf(load, 1, 95_000), 5_000);
  assert.equal(shareOf(load, 95_000), 1);
});

test('no follower is chosen while one of a better rank may serve, whatever the loads and the draw (property)', () => {
  const arbitrary = fc.record({
    ejected: fc.boolean(),
    weight: fc.constantFrom(0, 0.1, 1, 5),
    streaming: fc.boolean(),
    foreign: fc.boolean(),
    busy: fc.nat(50),
    latencyMs: fc.nat(250),
  });
  const rank = (one: { ejected: boolean; weight: number; streaming: boolean }) =>
    (one.ejected ? 4 : 0) + (one.weight > 0 ? 0 : 2) + (one.streaming ? 0 : 1);
  fc.assert(
    fc.property(
      fc.array(arbitrary, { minLength: 1, maxLength: 6 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (all, random) => {
        const loads = all.map(({ ejected, weight, foreign, busy, latencyMs }) => ({
          ...newNodeLoad(),
          weight,
          foreign,
          busy,
          latencyMs,
          latencyAtMs: 2000,
          ejectedUntilMs: ejected ? 3000 : -Infinity,
        }));
        const nodes = all.map(({ streaming }, i) => exampleFollower(`${i}`, { streaming, freshAsOfMs: 2000 }));
        const choice = chooseFollower(exampleSnapshot(nodes), {
          level: 'eventual',
          floor: { committedAtMs: -Infinity, lastReadAtMs: -Infinity, lastNode: null },
          databaseFloorMs: -Infinity,
          maxStalenessMs: Infinity,
          loadOf: (name) => loads[Number(name)] as NodeLoad,
          nowMs: 2000,
          exclude: new Set(),
          random,
        });
        assert.ok(choice.kind === 'follower');
        const chosen = all[Number(choice.node)] as (typeof all)[number];
        const best = Math.min(...all.map(rank));
        assert.equal(rank(chosen), best);
        // Another zone only where there is none of the own, or it is far slower.
        const own = loads.filter(({ foreign }, i) => !foreign && rank(all[i] as (typeof all)[number]) === best);
        if (chosen.foreign && own.length > 0) {
          const cost = (load: NodeLoad) => costOf(load, shareOf(load, 2000), 2000);
          const mine = cost(loads[Number(choice.node)] as NodeLoad);
          assert.ok(own.some((load) => cost(load) > 3 * mine || load.weight === 0));
        }
      },
    ),
    { numRuns: 2000 },
  );
});
