import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oneLine } from './one-line.ts';

test('a terminal obeys nothing of what somebody wrote, and names stay as they are', () => {
  assert.equal(oneLine(' Jürgen\n\t of 運用 '), 'Jürgen of 運用');
  assert.equal(oneLine('\u001b[2Jgone\u202Eenog\u0007'), '[2Jgone enog');
  assert.equal(oneLine(`a${'😀'.repeat(300)}`), `a${'😀'.repeat(99)}\uFFFD`);
});
