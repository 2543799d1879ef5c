import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NAME_PATTERN } from './names.ts';

test('no two node names share a replication slot, and no node is called what stands for nobody', () => {
  for (const good of ['node1', 'a', 'eu-west-1']) assert.match(good, NAME_PATTERN);
  for (const bad of ['', '1a', 'a_b', 'leasehold_nobody', 'Node', 'a b', 'a'.repeat(41)]) {
    assert.doesNotMatch(bad, NAME_PATTERN);
  }
});
