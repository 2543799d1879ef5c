import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackendStatements } from './backend-statements.ts';

test('beyond its bound a backend gives up the statement that was used longest ago, and never the one that is coming', () => {
  const statements = new BackendStatements();
  for (const name of ['a', 'b', 'c']) assert.equal(statements.add(name, 3), null);
  statements.touch('a');
  assert.equal(statements.add('d', 3), 'b');
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => statements.has(name)),
    [true, false, true, true],
  );
  assert.equal(statements.add('d', 3), null);
});

test('a bound that a reload lowered is met one by one', () => {
  const statements = new BackendStatements();
  for (const name of ['a', 'b', 'c']) statements.add(name, 3);
  assert.equal(statements.add('d', 1), 'a');
  assert.equal(statements.add('e', 1), 'b');
  assert.equal(statements.size, 3);
});
