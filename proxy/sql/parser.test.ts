import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { loadParser } from './parser.ts';

test('statements come with their places, and a syntax error is a value', async () => {
  const parser = await loadParser();
  const parsed = parser.parse('SELECT 1; SELECT 2');
  assert.ok(parsed.kind === 'tree');
  assert.deepEqual(
    parsed.statements.map(({ stmt_location, stmt_len }) => [stmt_location, stmt_len]),
    [
      [undefined, 8],
      [10, undefined],
    ],
  );
  assert.equal(parser.parse('SELEC').kind, 'syntax-error');
});

test('a text that exhausts the parser is a fault, and the parser is loaded anew', async () => {
  const parser = await loadParser();
  assert.equal(parser.parse(`SELECT 1${'+1'.repeat(100_000)}`).kind, 'fault');
  const deadline = Date.now() + 5000;
  while (parser.parse('SELECT 1').kind !== 'tree') {
    assert.ok(Date.now() < deadline);
    await delay(10);
  }
});
