import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keptBy, LITTLE } from '../test/support/kept-bytes.ts';
import { ownBytes } from './own-bytes.ts';

test('a small buffer of Node keeps its whole slab, a copy with memory of its own does not', async () => {
  assert.ok((await keptBy(() => Buffer.from('abc'))) > 4 * LITTLE);
  assert.ok((await keptBy(() => ownBytes(Buffer.from('abc')))) < LITTLE);
});
