import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { createEtcdStore } from '../../election/store/etcd.ts';
import type { LeaseStore, StoreSnapshot } from '../../election/store/port.ts';
import { type Authority, createAuthority, withoutOpenssl } from '../support/certificates.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';

const logger = pino({ level: 'silent' });
const QUICK = { deadlineMs: 3000 };

describe('etcd that speaks TLS and asks for certificates', { skip: withoutOpenssl }, () => {
  let authority: Authority;
  let stranger: Authority;
  let etcd: TestEtcd;
  let files: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };

  before(async () => {
    authority = createAuthority();
    stranger = createAuthority();
    const caFile = authority.certFile;
    etcd = await startEtcd([], { ...authority.issue('etcd', ['IP:127.0.0.1']), caFile });
    files = { ...authority.issue('node-a'), caFile };
  });

  after(async () => {
    await etcd?.[Symbol.asyncDispose]();
    authority?.remove();
    stranger?.remove();
  });

  async function withStore<T>(tls: object, work: (store: LeaseStore) => Promise<T>): Promise<T> {
    const store = createEtcdStore({ endpoints: [etcd.endpoint], tls, logger });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  test('with its authority and a certificate, leases, transactions, reads and watches work', async () => {
    await withStore(files, async (store) => {
      const seen: StoreSnapshot[] = [];
      const following = new AbortController();
      let told: () => void = () => {};
      const change = new Promise<void>((resolve) => {
        told = resolve;
      });
      store.follow('/tls/', {
        refreshMs: 60_000, // only the watch can bring it in time
        signal: following.signal,
        onSnapshot: (snapshot) => {
          seen.push(snapshot);
          if (snapshot.keys.has('/tls/a')) told();
          else if (seen.length === 1) void put(store);
        },
        onUnreachable: () => {},
      });
      await change;
      following.abort();
      assert.equal((await store.readAll('/tls/', QUICK)).keys.get('/tls/a')?.value, '1');
    });
  });

  async function put(store: LeaseStore): Promise<void> {
    const { lease } = await store.grantLease(5000, QUICK);
    assert.ok((await store.keepAlive(lease, QUICK)).ttlMs > 0);
    const then = [{ type: 'put', key: '/tls/a', value: '1', lease } as const];
    assert.ok((await store.transact({ compare: [], then }, QUICK)).succeeded);
  }

  test('an etcd of another authority is not believed', async () => {
    await withStore({ ...files, caFile: stranger.certFile }, (store) =>
      assert.rejects(store.readAll('/tls/', QUICK), { name: 'StoreError', outcome: 'not-applied' }),
    );
    await withStore({ certFile: files.certFile, keyFile: files.keyFile }, (store) =>
      assert.rejects(store.readAll('/tls/', QUICK), { name: 'StoreError', outcome: 'not-applied' }),
    );
  });

  test('whoever cannot follow is told why', async () => {
    const told = (tls: object) =>
      withStore(
        tls,
        (store) =>
          new Promise<string>((resolve) => {
            const following = new AbortController();
            store.follow('/tls/', {
              refreshMs: 1000,
              signal: following.signal,
              onSnapshot: () => resolve('it follows'),
              onUnreachable: (error) => {
                following.abort();
                resolve(error.message);
              },
            });
          }),
      );
    assert.match(await told({ ...files, caFile: stranger.certFile }), /self-signed certificate|unable to verify/);
    assert.match(await told({ caFile: files.caFile }), /certificate required|bad certificate/);
    assert.match(await told({ caFile: files.caFile, ...stranger.issue('node-a') }), /unknown ca|bad certificate/);
  });

  test('who shows no certificate, or one of another authority, is refused', async () => {
    for (const tls of [{ caFile: files.caFile }, { caFile: files.caFile, ...stranger.issue('node-a') }]) {
      await withStore(tls, (store) => assert.rejects(store.readAll('/tls/', QUICK), { name: 'StoreError' }));
    }
  });

  test('files that cannot be used are faults of the configuration, each with its name', () => {
    const start = (tls: object) => () => createEtcdStore({ endpoints: [etcd.endpoint], tls, logger });
    assert.throws(start({ caFile: '/nowhere/ca.crt' }), /cluster\.etcdTls\.caFile.*cannot be read/s);
    assert.throws(start({ caFile: files.keyFile }), /cluster\.etcdTls\.caFile.*holds no certificate/s);
    const other = authority.issue('node-b');
    const mixed = { ...files, keyFile: other.keyFile };
    assert.throws(start(mixed), /cluster\.etcdTls\.certFile.*cannot be used together/s);
  });
});
