import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CancelKeys, mayHaveGiven } from './cancel-keys.ts';

const ignore = (done: () => void): void => done();

test('clients of protocol 3.0 get 4 bytes of secret, those of 3.2 get 32', () => {
  const keys = new CancelKeys('proxy1');
  assert.equal(keys.give(0, ignore).secretKey.length, 4);
  assert.equal(keys.give(2, ignore).secretKey.length, 32);
});

test('a process id is none of a server’s, names its proxy, and is given once', () => {
  const keys = new CancelKeys('proxy1');
  const given = Array.from({ length: 5000 }, () => keys.give(0, ignore));
  assert.equal(new Set(given.map(({ processId }) => processId)).size, 5000);
  assert.ok(given.every(({ processId }) => processId >= 2 ** 22 && processId < 2 ** 31));
  assert.ok(given.every((key) => mayHaveGiven('proxy1', key) && !mayHaveGiven('proxy2', key)));
});

test('clients that have the process id of their server are told apart by the secret, which names the proxy', () => {
  const keys = new CancelKeys('proxy1');
  const one = keys.give(0, ignore, 4711);
  const other = keys.give(0, (done) => done(), 4711);
  assert.equal(one.processId, 4711);
  assert.equal(keys.find(one), ignore);
  assert.notEqual(keys.find(other), ignore);
  assert.ok(mayHaveGiven('proxy1', one) && !mayHaveGiven('proxy2', one));
  keys.revoke(one);
  assert.equal(keys.find(one), null);
  assert.notEqual(keys.find(other), null);
});

test('only the whole key finds its target, and not after it was revoked', () => {
  const keys = new CancelKeys('proxy1');
  const key = keys.give(2, ignore);
  const { processId, secretKey } = key;
  assert.equal(keys.find({ processId, secretKey: Buffer.from(secretKey) }), ignore);
  assert.equal(keys.find({ processId, secretKey: secretKey.subarray(0, 4) }), null);
  assert.equal(keys.find({ processId, secretKey: Buffer.alloc(32) }), null);
  assert.equal(keys.find({ processId: processId ^ 1, secretKey }), null);
  keys.revoke({ processId, secretKey: Buffer.from(secretKey) });
  assert.equal(keys.find(key), ignore, 'a copy revokes nothing: the number may have another owner by then');
  keys.revoke(key);
  assert.equal(keys.find(key), null);
});
