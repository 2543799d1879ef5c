import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CancelKeys, tagOf, tagOfProcessId } from './cancel-keys.ts';

const ignore = (done: () => void): void => done();

test('clients of protocol 3.0 get 4 bytes of secret, those of 3.2 get 32', () => {
  const keys = new CancelKeys('proxy1');
  assert.equal(keys.give(0, ignore).secretKey.length, 4);
  assert.equal(keys.give(2, ignore).secretKey.length, 32);
});

test('a process id is positive, names its proxy, and is given once', () => {
  const keys = new CancelKeys('proxy1');
  const given = Array.from({ length: 5000 }, () => keys.give(0, ignore).processId);
  assert.equal(new Set(given).size, 5000);
  assert.ok(given.every((id) => id > 0 && id < 2 ** 31 && tagOfProcessId(id) === tagOf('proxy1')));
  assert.notEqual(tagOf('proxy1'), tagOf('proxy2'));
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
