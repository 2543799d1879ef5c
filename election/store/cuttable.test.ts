import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../common/errors.ts';
import { cuttable } from './cuttable.ts';
import { createMemoryStore } from './memory.ts';
import type { LeaseStore } from './port.ts';

const put = (value: string) => ({ compare: [], then: [{ type: 'put' as const, key: '/a/x', value }] });
const read = async (store: LeaseStore) => (await store.readAll('/a/', { deadlineMs: 200 })).keys.get('/a/x')?.value;

test('a store that is cut off answers nothing until the call’s own deadline, and nobody knows whether it arrived', async () => {
  const store = cuttable(createMemoryStore(() => performance.now()));
  store.cut(10_000);
  const fromMs = performance.now();
  await assert.rejects(store.transact(put('1'), { deadlineMs: 60 }), (error) => {
    assert.ok(error instanceof StoreError);
    assert.equal(error.outcome, 'unknown');
    return true;
  });
  assert.ok(performance.now() - fromMs >= 55);
  store.cut(0);
  assert.equal(store.cutForMs, 0);
  assert.equal(await read(store), undefined);
});

test('what was under way when it was cut is carried out or not, and its answer is lost', async () => {
  const inner = createMemoryStore(() => performance.now());
  const slow: LeaseStore = {
    ...inner,
    transact: async (transaction, options) => {
      await sleep(20);
      return inner.transact(transaction, options);
    },
  };
  const store = cuttable(slow);
  const answer = store.transact(put('1'), { deadlineMs: 80 });
  store.cut(10_000);
  await assert.rejects(answer, { outcome: 'unknown' });
  assert.equal(await read(inner), '1');
  store.cut(0);
});

test('it ends by itself, and the follower then hears what it missed', async () => {
  const inner = createMemoryStore(() => performance.now());
  const store = cuttable(inner);
  const stop = new AbortController();
  const seen: (string | undefined)[] = [];
  let unreachable = 0;
  store.follow('/a/', {
    refreshMs: 50,
    signal: stop.signal,
    onSnapshot: ({ keys }) => seen.push(keys.get('/a/x')?.value),
    onUnreachable: () => unreachable++,
  });
  store.cut(600);
  await inner.transact(put('1'), { deadlineMs: 100 });
  await sleep(300);
  assert.ok(!seen.includes('1'));
  assert.ok(unreachable > 0);
  while (store.cutForMs > 0) await sleep(5);
  await inner.transact(put('2'), { deadlineMs: 100 });
  while (seen.at(-1) !== '2') await sleep(5);
  assert.equal((await store.transact(put('3'), { deadlineMs: 100 })).succeeded, true);
  stop.abort();
});

test('an aborted call ends at once', async () => {
  const store = cuttable(createMemoryStore(() => performance.now()));
  store.cut(10_000);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 20);
  const fromMs = performance.now();
  await assert.rejects(store.readAll('/a/', { deadlineMs: 5000, signal: abort.signal }));
  assert.ok(performance.now() - fromMs < 1000);
  store.cut(0);
});
