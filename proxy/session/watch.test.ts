import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watch } from './watch.ts';

test('a state lasts from the sweep that saw it first, until another one or another message', () => {
  const watch = new Watch();
  watch.onMessage(true);
  watch.look('running', true, 100);
  watch.look('running', true, 300);
  assert.equal(watch.stateMs(300), 200);
  watch.onMessage(true);
  watch.look('running', true, 400);
  assert.equal(watch.stateMs(400), 0, 'another statement runs');
  watch.look('idle', false, 500);
  watch.look('idle', false, 900);
  assert.equal(watch.stateMs(900), 400);
  assert.equal(watch.transactionMs(900), 0);
});

test('a transaction lasts over its statements, and the next one is another', () => {
  const watch = new Watch();
  watch.onMessage(true);
  watch.look('idle', true, 100);
  watch.onMessage(false);
  watch.look('running', true, 200);
  watch.onMessage(false);
  watch.look('idle', true, 300);
  assert.equal(watch.transactionMs(300), 200);
  watch.onMessage(false); // COMMIT, and then BEGIN, between two sweeps
  watch.onMessage(true);
  watch.look('idle', true, 400);
  assert.equal(watch.transactionMs(400), 0);
});
