import assert from 'node:assert/strict';
import { test } from 'node:test';
import { distributionOf } from './distribution.ts';

test('a distribution is least, median, p90 and most, in whatever order the runs came', () => {
  assert.deepEqual(distributionOf([3, 1, 2]), { runs: 3, least: 1, median: 2, p90: 3, most: 3 });
  assert.equal(distributionOf([4, 1, 3, 2])?.median, 2.5);
  assert.equal(distributionOf([]), null);
});

test('the p90 of twenty runs leaves the two worst out', () => {
  assert.equal(distributionOf(Array.from({ length: 20 }, (_, i) => i + 1))?.p90, 18);
});
