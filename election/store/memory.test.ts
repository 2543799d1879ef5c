import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreError } from '../../common/errors.ts';
import { createMemoryStore, MemoryEtcd } from './memory.ts';
import type { StoreSnapshot } from './port.ts';

const OPTIONS = { deadlineMs: 1000 };

test('of two who create the same key by compare-and-swap one wins', async () => {
  const store = createMemoryStore(() => 0);
  const create = (value: string) =>
    store.transact(
      {
        compare: [{ type: 'create-revision', key: 'leader', equals: 0 }],
        then: [{ type: 'put', key: 'leader', value }],
        otherwise: [{ type: 'get', key: 'leader' }],
      },
      OPTIONS,
    );
  assert.equal((await create('a')).succeeded, true);
  const second = await create('b');
  assert.equal(second.succeeded, false);
  assert.equal(second.gets[0]?.value, 'a');
  await store.close();
});

test('a key leaves with its lease, and a kept-alive lease stays', () => {
  const etcd = new MemoryEtcd();
  const { lease } = etcd.grantLease(0, 5000);
  etcd.transact(0, { compare: [], then: [{ type: 'put', key: 'leader', value: 'a', lease }] });
  assert.equal(etcd.keepAlive(4000, lease).ttlMs, 5000);
  assert.equal(etcd.readAll(8999, '').keys.size, 1);
  assert.equal(etcd.nextExpiryMs(), 9000);
  assert.equal(etcd.readAll(9000, '').keys.size, 0);
  assert.equal(etcd.keepAlive(9000, lease).ttlMs, 0);
});

test('a put on a lease that is gone, or twice of one key, is refused and changes nothing', () => {
  const etcd = new MemoryEtcd();
  const { lease } = etcd.grantLease(0, 1000);
  const refused = (then: Parameters<MemoryEtcd['transact']>[1]['then']) =>
    assert.throws(
      () => etcd.transact(2000, { compare: [], then }),
      (error) => error instanceof StoreError && error.outcome === 'not-applied',
    );
  refused([
    { type: 'put', key: 'x', value: '1' },
    { type: 'put', key: 'leader', value: 'a', lease },
  ]);
  refused([
    { type: 'put', key: 'x', value: '1' },
    { type: 'put', key: 'x', value: '2' },
  ]);
  assert.equal(etcd.get('x'), null);
});

test('a key that was deleted and made again has a new create revision', () => {
  const etcd = new MemoryEtcd();
  const put = () => etcd.transact(0, { compare: [], then: [{ type: 'put', key: 'k', value: 'v' }] });
  put();
  const first = etcd.get('k');
  put();
  assert.equal(etcd.get('k')?.createRevision, first?.createRevision);
  assert.ok((etcd.get('k')?.modRevision ?? 0) > (first?.modRevision ?? 0));
  etcd.transact(0, { compare: [], then: [{ type: 'delete', key: 'k' }] });
  put();
  assert.ok((etcd.get('k')?.createRevision ?? 0) > (first?.createRevision ?? 0));
});

test('a follower of a prefix sees what is there and every later state', async () => {
  const store = createMemoryStore(() => 0);
  const seen: StoreSnapshot[] = [];
  const ended = new AbortController();
  store.follow('/a/', {
    refreshMs: 1000,
    signal: ended.signal,
    onSnapshot: (s) => seen.push(s),
    onUnreachable: () => {},
  });
  await store.transact({ compare: [], then: [{ type: 'put', key: '/a/1', value: 'x' }] }, OPTIONS);
  await store.transact({ compare: [], then: [{ type: 'put', key: '/b/1', value: 'y' }] }, OPTIONS);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...(seen.at(-1)?.keys.keys() ?? [])], ['/a/1']);
  ended.abort();
});
