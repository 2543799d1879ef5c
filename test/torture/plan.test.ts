import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../simulation/random.ts';
import { drawRound, FAULTS, parseRound, type PlanOptions, type Round } from './plan.ts';
import { distribution, longestGap } from './report.ts';

const OPTIONS: PlanOptions = { ttlMs: 3000, capabilities: new Set(['network', 'disks'] as const) };

test('a plan depends on its seed and on nothing else', () => {
  assert.deepEqual(plan(7, 50), plan(7, 50));
  assert.notDeepEqual(plan(7, 50), plan(8, 50));
});

test('every fault is drawn with every target, and each one ends', () => {
  const faults = plan(1, 8000).flatMap(({ faults: each }) => each);
  for (const [name, { targets }] of Object.entries(FAULTS)) {
    const drawn = new Set(faults.filter((fault) => fault.name === name).map(({ target }) => target));
    assert.deepEqual([...drawn].sort(), [...new Set<string>(targets)].sort(), name);
  }
  const longest = Math.max(...faults.map(({ lastingMs }) => lastingMs));
  assert.ok(longest <= 3 * OPTIONS.ttlMs * 1.15 && longest > 2.5 * OPTIONS.ttlMs, `${longest} ms`);
});

test('faults strike one into another in some rounds', () => {
  const overlapping = plan(1, 200).filter(({ faults: [first, second] }) => {
    return first !== undefined && second !== undefined && second.afterMs < first.lastingMs;
  });
  assert.ok(overlapping.length > 20, `${overlapping.length}`);
});

test('what the machine cannot do is not drawn', () => {
  const random = new Random(3);
  for (let i = 0; i < 500; i++)
    for (const { name } of drawRound(random, { ...OPTIONS, capabilities: new Set() }).faults)
      assert.equal(FAULTS[name].needs, 'nothing');
});

test('only what was asked for is drawn', () => {
  const { faults } = drawRound(new Random(1), { ...OPTIONS, only: ['kill-node'] });
  assert.deepEqual(new Set(faults.map(({ name }) => name)), new Set(['kill-node']));
});

test('a round can be given in words', () => {
  const round = parseRound('pause-guards leader 7000, cut-from-peers leader in 500 @200, switchover any');
  assert.deepEqual(round.faults, [
    { name: 'pause-guards', target: 'leader', afterMs: 0, lastingMs: 7000 },
    { name: 'cut-from-peers', target: 'leader in', afterMs: 200, lastingMs: 500 },
    { name: 'switchover', target: 'any', afterMs: 0, lastingMs: 0 },
  ]);
  assert.throws(() => parseRound('kill-nobody leader'), /no such fault/);
  assert.throws(() => parseRound('kill-node proxy1'), /no such target/);
});

test('the longest gap is looked for within its bounds, and the bounds count', () => {
  assert.equal(longestGap([1, 2, 10, 11, 40], 0, 20), 9);
  assert.equal(longestGap([], 5, 20), 15);
  assert.equal(longestGap([6, 30], 5, 20), 14);
});

test('a distribution names the middle, nine tenths and the worst', () => {
  assert.deepEqual(distribution([5, 1, 3]), { count: 3, median: 3, p90: 5, worst: 5 });
});

function plan(seed: number, rounds: number): Round[] {
  const random = new Random(seed);
  return Array.from({ length: rounds }, () => drawRound(random, OPTIONS));
}
