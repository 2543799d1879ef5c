import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { Clients } from '../support/clients.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

describe('what became of a statement whose answer was lost', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = () => clients.connect();

  beforeEach(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { hold: { deadlineMs: 15_000 } } });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int PRIMARY KEY, v text); GRANT ALL ON public.t TO app');
    await caughtUp();
  });
  afterEach(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  async function caughtUp(): Promise<void> {
    const position = await cluster.sql('node1', 'SELECT pg_current_wal_lsn()');
    for (;;) {
      if ((await cluster.sql('node2', `SELECT pg_last_wal_replay_lsn() >= '${position}'`)) === 't') return;
      await sleep(20);
    }
  }

  /** From now on commits wait for ever for a follower that does not exist. */
  async function commitsHang(): Promise<void> {
    await cluster.sql('node1', "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    await sleep(200);
  }

  async function cutReplication(): Promise<void> {
    await cluster.sql('node2', "ALTER SYSTEM SET primary_conninfo = ''");
    await cluster.sql('node2', 'SELECT pg_reload_conf()');
    while ((await cluster.sql('node1', 'SELECT count(*) FROM pg_stat_replication')) !== '0') await sleep(20);
  }

  async function commitHangs(): Promise<void> {
    const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`;
    while ((await cluster.sql('node1', waiting)) === '0') await sleep(20);
  }

  async function open(i: number, commit = 'COMMIT'): Promise<() => Promise<string>> {
    const client = await connect();
    await client.query('BEGIN');
    await client.query('INSERT INTO t VALUES ($1)', [i]);
    return async () => {
      // With a name: by the extended protocol.
      const { command } = await client.query(i % 2 === 0 ? { name: 'commit', text: commit } : commit);
      assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
      return command;
    };
  }

  for (const [name, i] of [
    ['by the simple protocol', 1],
    ['by the extended protocol', 2],
  ] as const) {
    test(`a COMMIT that the next leader has is a success (${name})`, async () => {
      const commit = await open(i);
      await commitsHang();
      const committed = commit();
      await commitHangs();
      await caughtUp();
      await cluster.killLeader();
      await cluster.promote('node2');
      assert.equal(await committed, 'COMMIT');
      assert.equal(await cluster.sql('node2', 'SELECT i FROM t'), String(i));
    });
  }

  test('a transaction of which the next leader has no more than the beginning is 40001', async () => {
    const commit = await open(3);
    await cluster.sql('node1', "INSERT INTO t VALUES (100, 'flushes what came before')");
    await caughtUp();
    await cutReplication();
    await commitsHang();
    const refused = assert.rejects(commit(), { code: '40001' });
    await commitHangs();
    await cluster.killLeader();
    await cluster.promote('node2');
    await refused;
    assert.equal(await cluster.sql('node2', 'SELECT i FROM t'), '100');
  });

  test('a transaction that never arrived is 40001, though its id was given to another that committed', async () => {
    await cutReplication();
    const commit = await open(4);
    await commitsHang();
    const refused = assert.rejects(commit(), { code: '40001' });
    await commitHangs();
    await cluster.killLeader();
    await cluster.promote('node2', async () => {
      for (let i = 200; i < 210; i++) await cluster.sql('node2', `INSERT INTO t VALUES (${i})`);
    });
    await refused;
    assert.equal(await cluster.sql('node2', 'SELECT count(*), min(i) FROM t'), '10|200');
  });

  test('where no leader comes the outcome is unknown, and the session lives on', async () => {
    const commit = await open(5);
    await commitsHang();
    const client = clients.all[0] as Client;
    const started = Date.now();
    const refused = assert.rejects(commit(), { code: '08007' });
    await commitHangs();
    await cluster.killLeader();
    await cluster.releaseLeader();
    await refused;
    assert.ok(Date.now() - started > 10_000);
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  });

  test('what a terminated server did not complete is 40001; a COMMIT that waits there is unknown', async () => {
    const client = await connect();
    const terminate = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE usename = 'app' AND (query LIKE 'INSERT%sleep%' OR wait_event = 'SyncRep')`;
    const refused = assert.rejects(client.query('INSERT INTO t SELECT 1 FROM pg_sleep(20)'), { code: '40001' });
    await sleep(300);
    await cluster.sql('node1', terminate);
    await refused;
    await client.query('INSERT INTO t VALUES (6)');
    const commit = await open(7);
    await commitsHang();
    const unknown = assert.rejects(commit(), { code: '08007' });
    await commitHangs();
    await cluster.sql('node1', terminate);
    await unknown;
  });
});
