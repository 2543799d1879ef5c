import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { pino } from 'pino';
import { StoreError } from '../../common/errors.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import type { LeaseStore, StoreSnapshot } from '../../election/store/port.ts';
import { startEtcd, startEtcdCluster, type TestEtcd } from '../support/etcd.ts';
import { freePorts } from '../support/ports.ts';

const logger = pino({ level: 'silent' });
const call = { deadlineMs: 2000 };
let folder = 0;
const prefix = () => `/test/${++folder}/`;

async function until(what: string, condition: () => boolean, ms = 5000): Promise<number> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > ms) assert.fail(`not within ${ms} ms: ${what}`);
    await sleep(5);
  }
  return performance.now() - start;
}

function storeError(outcome: 'not-applied' | 'unknown') {
  return (error: unknown) => error instanceof StoreError && error.outcome === outcome;
}

describe('the lease store on one etcd', () => {
  let etcd: TestEtcd;
  let store: LeaseStore;
  before(async () => {
    etcd = await startEtcd();
    store = createEtcdStore({ endpoints: [etcd.endpoint], logger });
  });
  after(async () => {
    await store.close();
    await etcd[Symbol.asyncDispose]();
  });

  it('carries out one branch of a transaction and answers its gets in order', async () => {
    const key = `${prefix()}a`;
    const create = {
      compare: [{ type: 'create-revision', key, equals: 0 }],
      then: [
        { type: 'put', key, value: 'one' },
        { type: 'get', key },
        { type: 'get', key: `${key}-absent` },
      ],
      otherwise: [{ type: 'get', key }],
    } as const;
    const first = await store.transact(create, call);
    assert.equal(first.succeeded, true);
    assert.equal(first.gets[0]?.value, 'one');
    assert.equal(first.gets[0]?.createRevision, first.revision);
    assert.equal(first.gets[1], null);
    const second = await store.transact({ ...create, then: [{ type: 'put', key, value: 'two' }] }, call);
    assert.equal(second.succeeded, false);
    assert.equal(second.gets[0]?.value, 'one');
    const modified = second.gets[0]?.modRevision ?? -1;
    const third = await store.transact(
      { compare: [{ type: 'mod-revision', key, equals: modified }], then: [{ type: 'delete', key }] },
      call,
    );
    assert.equal(third.succeeded, true);
    assert.equal((await store.readAll(key, call)).keys.size, 0);
  });

  it('keeps a lease with its 64-bit id, and its keys go when it expires', async () => {
    const root = prefix();
    const { lease, ttlMs } = await store.grantLease(2000, call);
    assert.equal(ttlMs, 2000);
    assert.match(lease, /^\d{15,19}$/);
    await store.transact({ compare: [], then: [{ type: 'put', key: `${root}k`, value: 'v', lease }] }, call);
    assert.equal((await store.readAll(root, call)).keys.get(`${root}k`)?.lease, lease);
    await sleep(1200);
    assert.deepEqual(await store.keepAlive(lease, call), { ttlMs: 2000 });
    await sleep(1200);
    assert.equal((await store.readAll(root, call)).keys.size, 1);
    const left = await store.timeToLive(lease, call);
    assert.ok(left.ttlMs <= 1000 && left.grantedTtlMs === 2000);
    await sleep(2500);
    assert.equal((await store.readAll(root, call)).keys.size, 0);
    assert.deepEqual(await store.keepAlive(lease, call), { ttlMs: 0 });
    assert.deepEqual(await store.timeToLive(lease, call), { ttlMs: 0, grantedTtlMs: 0 });
  });

  it('revokes a lease, also one that is gone; a put on it is refused as not applied', async () => {
    const { lease } = await store.grantLease(5000, call);
    await store.revokeLease(lease, call);
    await store.revokeLease(lease, call);
    const put = store.transact({ compare: [], then: [{ type: 'put', key: prefix(), value: '', lease }] }, call);
    await assert.rejects(put, storeError('not-applied'));
  });

  it('ends every call at its deadline while etcd is paused, and goes on after it', async () => {
    const { lease } = await store.grantLease(5000, call);
    etcd.pause();
    const started = performance.now();
    const calls = await Promise.allSettled([
      store.keepAlive(lease, { deadlineMs: 300 }),
      store.transact({ compare: [], then: [{ type: 'put', key: prefix(), value: '' }] }, { deadlineMs: 300 }),
      store.readAll('/test/', { deadlineMs: 300 }),
      store.timeToLive(lease, { deadlineMs: 300 }),
      store.grantLease(5000, { deadlineMs: 300 }),
    ]);
    const tookMs = performance.now() - started;
    assert.ok(tookMs >= 290 && tookMs < 450, `${tookMs} ms`);
    for (const settled of calls) {
      assert.equal(settled.status, 'rejected');
      assert.ok(settled.reason instanceof StoreError, String(settled.reason));
    }
    assert.equal((calls[1] as { reason: StoreError }).reason.outcome, 'unknown');
    etcd.resume();
    const resumed = performance.now();
    let keptAlive = false;
    while (!keptAlive) {
      assert.ok(performance.now() - resumed < 3000);
      keptAlive = await store.keepAlive(lease, { deadlineMs: 350 }).then(
        (answer) => answer.ttlMs === 5000,
        () => false,
      );
    }
  });

  it('stops waiting when the signal aborts', async () => {
    etcd.pause();
    const abort = new AbortController();
    const waiting = store.readAll('/test/', { deadlineMs: 5000, signal: abort.signal });
    setTimeout(() => abort.abort(), 50);
    const started = performance.now();
    await assert.rejects(waiting, StoreError);
    assert.ok(performance.now() - started < 200);
    etcd.resume();
    await until('etcd answers', () => true);
  });
});

describe('following a prefix', () => {
  it('shows each change at once, survives a restart and a compaction, and never goes back', async () => {
    await using etcd = await startEtcd();
    const store = createEtcdStore({ endpoints: [etcd.endpoint], logger });
    const other = createEtcdStore({ endpoints: [etcd.endpoint], logger });
    const root = prefix();
    const put = (value: string) =>
      other.transact({ compare: [], then: [{ type: 'put', key: `${root}k`, value }] }, { deadlineMs: 3000 });
    const snapshots: StoreSnapshot[] = [];
    let unreachable = 0;
    const value = () => snapshots.at(-1)?.keys.get(`${root}k`)?.value;
    store.follow(root, {
      refreshMs: 300,
      signal: new AbortController().signal,
      onSnapshot: (snapshot) => snapshots.push(snapshot),
      onUnreachable: () => {
        unreachable++;
      },
    });
    await until('the first snapshot', () => snapshots.length > 0);
    for (let n = 0; n < 20; n++) {
      await put(`v${n}`);
      const tookMs = await until('the change', () => value() === `v${n}`, 250);
      assert.ok(tookMs < 100, `${tookMs} ms`);
    }
    const before = snapshots.length;
    await sleep(1000);
    assert.ok(snapshots.length - before >= 2, 'refreshed though nothing changed');

    await etcd.stop('SIGKILL');
    await until('etcd is reported as unreachable', () => unreachable > 1);
    await etcd.start();
    for (let n = 0; n < 50; n++) await put(`w${n}`);
    await compact(etcd.endpoint, (await put('compacted')).revision);
    await until('the value after restart and compaction', () => value() === 'compacted');
    await put('again');
    const tookMs = await until('the watch works again', () => value() === 'again', 3000);
    assert.ok(tookMs < 1000, `${tookMs} ms`);

    etcd.pause();
    const reported = unreachable;
    await until('a paused etcd is reported', () => unreachable > reported);
    etcd.resume();
    await put('resumed');
    await until('the value after a pause', () => value() === 'resumed');
    for (let n = 1; n < snapshots.length; n++) {
      assert.ok((snapshots[n]?.revision ?? 0) >= (snapshots[n - 1]?.revision ?? 0));
    }
    await other.close();
    await store.close();
  });

  it('sees a lease expire: the key goes without anybody deleting it', async () => {
    await using etcd = await startEtcd();
    const store = createEtcdStore({ endpoints: [etcd.endpoint], logger });
    const root = prefix();
    const { lease } = await store.grantLease(1000, call);
    await store.transact({ compare: [], then: [{ type: 'put', key: `${root}leader`, value: 'v', lease }] }, call);
    let keys = -1;
    const stop = new AbortController();
    store.follow(root, {
      refreshMs: 1000,
      signal: stop.signal,
      onSnapshot: (snapshot) => {
        keys = snapshot.keys.size;
      },
      onUnreachable: assert.fail,
    });
    await until('the key is seen', () => keys === 1);
    await until('the key is gone', () => keys === 0, 4000);
    stop.abort();
    await store.close();
  });
});

describe('the lease store on three etcd members', () => {
  it('keeps a lease alive with one member dead and with another one paused', async () => {
    const members = await startEtcdCluster(3, ['--heartbeat-interval', '50', '--election-timeout', '500']);
    const [dead, paused] = members;
    assert.ok(dead !== undefined && paused !== undefined);
    const store = createEtcdStore({ endpoints: members.map((member) => member.endpoint), logger });
    try {
      const { lease } = await store.grantLease(3000, call);
      await dead.stop('SIGKILL');
      const survives = async (ms: number) => {
        const until = performance.now() + ms;
        while (performance.now() < until) {
          const answer = await store.keepAlive(lease, { deadlineMs: 350 }).catch(() => null);
          if (answer !== null) assert.equal(answer.ttlMs, 3000);
          await sleep(300);
        }
        assert.equal((await store.keepAlive(lease, { deadlineMs: 1000 })).ttlMs, 3000);
        await store.transact({ compare: [], then: [{ type: 'put', key: prefix(), value: '' }] }, call);
      };
      await survives(4000);
      await dead.start();
      paused.pause();
      await survives(4000);
    } finally {
      await store.close();
      for (const member of members) await member[Symbol.asyncDispose]();
    }
  });

  it('does not lose a call to a dead endpoint: a transaction goes to the next one', async () => {
    await using etcd = await startEtcd();
    const [closedPort] = await freePorts(1);
    const store = createEtcdStore({ endpoints: [`http://127.0.0.1:${closedPort}`, etcd.endpoint], logger });
    const started = performance.now();
    const done = await store.transact({ compare: [], then: [{ type: 'put', key: prefix(), value: '' }] }, call);
    assert.equal(done.succeeded, true);
    assert.ok(performance.now() - started < 500);
    await store.close();
  });

  it('says that nothing was applied when no endpoint can be connected to', async () => {
    const [closedPort] = await freePorts(1);
    const store = createEtcdStore({ endpoints: [`http://127.0.0.1:${closedPort}`], logger });
    const put = store.transact({ compare: [], then: [{ type: 'put', key: '/x', value: '' }] }, { deadlineMs: 500 });
    await assert.rejects(put, storeError('not-applied'));
    await store.close();
  });
});

async function compact(endpoint: string, revision: number): Promise<void> {
  const client = new Etcd3({ hosts: endpoint });
  await client.kv.compact({ revision });
  client.close();
}
