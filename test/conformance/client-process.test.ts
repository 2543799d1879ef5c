import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from './client-process.ts';

test('each step of a client has the outcome that its line says', () => {
  const lines = [
    'ok connect',
    'not ok types - got 1, wanted 2',
    'noise',
    'skip copy - no such thing',
    'ready-for crash',
  ];
  assert.deepEqual(parseClient('c', ['connect', 'types', 'copy'], lines, 'ended'), [
    { test: 'c connect', outcome: 'passed', detail: '' },
    { test: 'c types', outcome: 'failed', detail: 'got 1, wanted 2' },
    { test: 'c copy', outcome: 'skipped', detail: 'no such thing' },
  ]);
});

test('a step of which a client said nothing has failed with how the client ended', () => {
  assert.deepEqual(parseClient('c', ['connect', 'types'], ['ok connect'], 'ended with SIGKILL'), [
    { test: 'c connect', outcome: 'passed', detail: '' },
    { test: 'c types', outcome: 'failed', detail: 'ended with SIGKILL' },
  ]);
});
