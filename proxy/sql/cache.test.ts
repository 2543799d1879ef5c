import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteCache, hashBytes } from './cache.ts';

function put(cache: ByteCache<string>, key: string, value: string): void {
  const bytes = Buffer.from(key);
  cache.set(hashBytes(bytes, bytes.length, 1), bytes, bytes.length, value);
}

function get(cache: ByteCache<string>, key: string): string | undefined {
  const bytes = Buffer.from(key);
  return cache.get(hashBytes(bytes, bytes.length, 1), bytes, bytes.length);
}

test('a value is found by its key, also by one that lies in a larger buffer', () => {
  const cache = new ByteCache<string>(64, 1000);
  put(cache, 'abc', '1');
  const larger = Buffer.from('abcdef');
  assert.equal(cache.get(hashBytes(larger, 3, 1), larger, 3), '1');
  put(cache, 'abc', '2');
  assert.deepEqual([get(cache, 'abc'), cache.entries], ['2', 1]);
});

test('two keys of one hash do not answer for each other', () => {
  const cache = new ByteCache<string>(8, 1000);
  for (const key of ['a', 'b', 'ab']) cache.set(7, Buffer.from(key), key.length, key);
  assert.equal(cache.get(7, Buffer.from('b'), 1), 'b');
  assert.equal(cache.get(7, Buffer.from('c'), 1), undefined);
});

test('in a full set the least recently used makes room', () => {
  const cache = new ByteCache<string>(8, 1000);
  for (let i = 0; i < 8; i += 1) put(cache, `k${i}`, `v${i}`);
  assert.equal(get(cache, 'k0'), 'v0');
  put(cache, 'k8', 'v8');
  assert.deepEqual([get(cache, 'k0'), get(cache, 'k1'), get(cache, 'k8')], ['v0', undefined, 'v8']);
});

test('what is found is what was put last, and neither bound is passed', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.string({ maxLength: 20 }), fc.string())), (writes) => {
      const cache = new ByteCache<string>(16, 100);
      const last = new Map<string, string>();
      for (const [key, value] of writes) {
        put(cache, key, value);
        last.set(key, value);
      }
      let bytes = 0;
      for (const [key, value] of last) {
        const found = get(cache, key);
        if (found === undefined) continue;
        assert.equal(found, value);
        bytes += Buffer.byteLength(key);
      }
      assert.ok(bytes <= 100 && cache.entries <= 16);
    }),
  );
});
