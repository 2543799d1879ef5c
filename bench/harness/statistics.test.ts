import assert from 'node:assert/strict';
import { test } from 'node:test';
import { percentileOf, ratioOf, spreadOf } from './statistics.ts';

test('a spread is the median with the least and the most, in whatever order the rounds came', () => {
  assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, least: 1, most: 3 });
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, least: 1, most: 4 });
  assert.equal(spreadOf([]), null);
});

test('a ratio compares the figures of the same round, not medians of different ones', () => {
  // A slow second round for both: each round says 2, the medians of unequal sets would not.
  assert.deepEqual(ratioOf([20, 10, 22], [10, 5, 11]), { median: 2, least: 2, most: 2 });
  assert.deepEqual(ratioOf([20, 10], [10]), { median: 2, least: 2, most: 2 });
  assert.equal(ratioOf([20], [0]), null);
});

test('a percentile is a figure that was measured, by nearest rank', () => {
  const sorted = Float64Array.from({ length: 1000 }, (_, i) => i + 1);
  assert.equal(percentileOf(sorted, 0.5), 500);
  assert.equal(percentileOf(sorted, 0.99), 990);
  assert.equal(percentileOf(sorted, 0.999), 999);
  assert.equal(percentileOf([7], 0.999), 7);
});
