import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeed } from './world.ts';

const FIXED_SEEDS = 25;
const FRESH_SEEDS = 10;

function holds(seed: number): void {
  const result = runSeed(seed, { traceLines: 200 });
  assert.equal(
    result.violation,
    null,
    `seed ${seed}: ${result.violation?.message}\nagain: node test/simulation/simulate.ts --seeds 1 --start ${seed}\n${result.trace}`,
  );
}

test('I1, I2, I4, I5, I6, I10 hold through faults, on the fixed seeds', () => {
  for (let seed = 1; seed <= FIXED_SEEDS; seed++) holds(seed);
});

test('I1, I2, I4, I5, I6, I10 hold through faults, on fresh seeds', (t) => {
  const start = 1_000_000 + Math.floor(Math.random() * 1_000_000_000);
  t.diagnostic(`seeds ${start} to ${start + FRESH_SEEDS - 1}`);
  for (let seed = start; seed < start + FRESH_SEEDS; seed++) holds(seed);
});

test('the same seed gives the same run, another seed another', () => {
  const [first, second, other] = [runSeed(3), runSeed(3), runSeed(4)];
  assert.equal(first.hash, second.hash);
  assert.notEqual(first.hash, other.hash);
  assert.ok(first.terms > 0 && first.acknowledged > 0, 'nothing happened');
});
