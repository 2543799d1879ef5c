import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackendStatements, MAX_BACKEND_STATEMENTS } from './backend-statements.ts';

test('the statement used longest ago makes room, never one that is kept or just came', () => {
  const statements = new BackendStatements();
  for (let i = 0; i < MAX_BACKEND_STATEMENTS; i++) assert.equal(statements.add(`s${i}`, new Set()), null);
  statements.touch('s0');
  assert.equal(statements.add('new', new Set(['s1'])), 's2');
  assert.ok(statements.has('s0'));
  assert.ok(statements.has('s1'));
  assert.equal(statements.has('s2'), false);
  assert.equal(statements.size, MAX_BACKEND_STATEMENTS);
});
