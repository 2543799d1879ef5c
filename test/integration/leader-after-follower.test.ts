import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Client, type ClientConfig } from 'pg';
import {
  connectTo,
  nodeOf,
  pauseReplay,
  resumeReplay,
  show,
  startProxy,
  until,
  untilServedBy,
} from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { stopProcess } from '../support/server-process.ts';

const WAIT = { routing: { settleWaitMs: 8000 } };
const LAST = 'SELECT max(i)::int AS n FROM t';
const isFollower = (node: string): boolean => node !== 'node1';

/**
 * Commits that followers have replayed and the leader still keeps back, since its quorum has not confirmed them. For as long as a test
 * likes: the leader waits for a follower that there is not.
 */
describe('a session that has read on a follower misses nothing of it on the leader', () => {
  let cluster: ProxyCluster;
  let next = 0;
  const clients: Client[] = [];
  const writers: Promise<unknown>[] = [];
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 2, proxy: WAIT });
    await cluster.sql(
      'node1',
      'CREATE TABLE public.t (i int); GRANT ALL ON t TO app; INSERT INTO t VALUES (0); CREATE TABLE noise (i int)',
    );
    const reader = await connect();
    await untilServedBy(reader, LAST, (node) => node === 'node2');
  });
  after(async () => {
    if (cluster !== undefined) await confirm(true);
    await Promise.allSettled(clients.map((client) => client.end()));
    await cluster?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await confirm(true);
    await resumeReplay(cluster, 'node2', 'node3');
    await Promise.allSettled([...writers.splice(0), ...clients.splice(0).map((client) => client.end())]);
  });

  async function connect(config: ClientConfig = {}, port = cluster.port): Promise<Client> {
    const client = await connectTo(port, config);
    clients.push(client);
    return client;
  }

  /** Whether the leader's followers confirm what it has written. */
  async function confirm(yes: boolean): Promise<void> {
    await cluster.sql('node1', `ALTER SYSTEM SET synchronous_standby_names = '${yes ? '' : 'nobody'}'`);
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    await until(async () => (await cluster.sql('node1', 'SHOW synchronous_standby_names')) === (yes ? '' : 'nobody'));
  }

  /** A commit that followers show and the leader does not; the session has seen it on a follower. */
  async function readUnconfirmed(reader: Client): Promise<number> {
    await untilServedBy(reader, LAST, isFollower);
    await confirm(false);
    next += 1;
    writers.push(cluster.sql('node1', `INSERT INTO t VALUES (${next})`));
    await until(async () => (await last(reader)) === next, 'a follower shows it');
    assert.ok(isFollower(await nodeOf(reader)));
    assert.equal(await cluster.sql('node1', LAST), String(next - 1), 'the leader does not');
    return next;
  }

  const last = async (client: Client, hint = ''): Promise<number> => (await client.query(`${hint}${LAST}`)).rows[0].n;
  /** Sessions that wait for it, as the console shows them. */
  async function untilWaiting(): Promise<void> {
    const admin = new Client({
      host: '127.0.0.1',
      port: cluster.port,
      user: 'postgres',
      password: 'postgres',
      database: 'leasehold',
    });
    await admin.connect();
    await until(
      async () => (await admin.query('SHOW CLIENTS')).rows.some((row) => row.wait > 0 || row.wait_us > 20_000),
      'a session waits',
    );
    await admin.end();
  }

  const works: Record<string, (client: Client, n: number) => Promise<unknown>> = {
    'a read on the leader': async (client, n) => assert.equal(await last(client, '/* leasehold: leader */ '), n),
    'a read at the level strong': async (client, n) =>
      assert.equal(await last(client, '/* leasehold: consistency=strong */ '), n),
    'a write': async (client, n) =>
      assert.deepEqual((await client.query('UPDATE t SET i = i WHERE i = $1 RETURNING i', [n])).rows, [{ i: n }]),
    'a transaction on the leader': async (client, n) => {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      assert.equal(await last(client), n);
      await client.query('COMMIT');
    },
  };
  for (const [name, work] of Object.entries(works)) {
    test(`${name} waits until the leader shows it`, async () => {
      const reader = await connect();
      const n = await readUnconfirmed(reader);
      const working = work(reader, n);
      await Promise.race([untilWaiting(), working]);
      await confirm(true);
      await working;
      if (name.includes('read')) assert.equal(await nodeOf(reader), 'node1');
    });
  }

  test('a session that has not read it does not wait, neither does one at the level eventual', async () => {
    const reader = await connect();
    const other = await connect();
    const eventual = await connect({ options: '-c leasehold.consistency=eventual' });
    const n = await readUnconfirmed(reader);
    assert.equal(await last(other, '/* leasehold: leader */ '), n - 1);
    assert.ok((await last(eventual)) <= n);
    assert.equal(await last(eventual, '/* leasehold: leader */ '), n - 1);
  });

  test('its reads stay on the follower, which has it', async () => {
    const reader = await connect();
    const n = await readUnconfirmed(reader);
    for (let i = 0; i < 10; i += 1) assert.equal(await last(reader), n);
    assert.ok(isFollower(await nodeOf(reader)));
  });

  test('leasehold.token is told when the leader shows it, and whoever brings it anywhere sees it', async () => {
    const other = await startProxy(cluster, 'proxy2');
    const reader = await connect();
    const n = await readUnconfirmed(reader);
    const token = show(reader, 'leasehold.token');
    await untilWaiting();
    await confirm(true);
    const carried = await connect({}, other.port);
    await carried.query(`SET leasehold.token = '${await token}'`);
    assert.equal(await last(carried, '/* leasehold: leader */ '), n);
    await carried.end();
    await other.stop();
  });

  test('a long transaction that is open on the leader delays nobody', async () => {
    const open = await connect();
    await open.query('BEGIN');
    await open.query('INSERT INTO t VALUES (0)');
    const reader = await connect();
    await untilServedBy(reader, LAST, isFollower);
    const startedAt = performance.now();
    await reader.query('INSERT INTO t VALUES (0)');
    assert.ok(performance.now() - startedAt < 4000);
    await open.query('ROLLBACK');
  });

  test('after settleWaitMs it is refused with 57P03, and the session lives on', async () => {
    const proxy = await startProxy(cluster, 'proxy3', { routing: { settleWaitMs: 300 } });
    const reader = await connect({}, proxy.port);
    const n = await readUnconfirmed(reader);
    await assert.rejects(reader.query('INSERT INTO t VALUES (-1)'), {
      code: '57P03',
      message: /^leader node1 does not show yet what this session has read on follower node[23] \(1 transaction\)$/,
      detail: /Waited 300 ms/,
    });
    await reader.query('BEGIN');
    await assert.rejects(reader.query('INSERT INTO t VALUES (-1)'), { code: '57P03' });
    await reader.query('ROLLBACK');
    assert.equal(await last(reader), n);
    await confirm(true);
    assert.equal((await reader.query('SELECT count(*)::int AS n FROM t WHERE i = -1')).rows[0].n, 0);
    await reader.end();
    await proxy.stop();
  });

  test('what a follower showed that was lost then is vouched for by another one', async () => {
    const reader = await connect();
    await untilServedBy(reader, LAST, (node) => node === 'node2');
    const open = await connect();
    await open.query('BEGIN');
    await open.query('INSERT INTO t VALUES (0)');
    await pauseReplay(cluster, 'node3');
    await confirm(false);
    next += 1;
    writers.push(cluster.sql('node1', `INSERT INTO t VALUES (${next})`));
    // Others write on, so that no follower is ever where the leader is.
    const local = "PERFORM set_config('synchronous_commit', 'local', false);";
    const noise = 'FOR i IN 1..1500 LOOP INSERT INTO noise VALUES (i); COMMIT; PERFORM pg_sleep(0.002); END LOOP;';
    writers.push(cluster.sql('node1', `DO $$ BEGIN ${local} ${noise} END $$`).catch(() => undefined));
    await until(async () => (await last(reader)) === next, 'node2 shows it');
    const { process, data } = cluster.node('node2');
    await stopProcess(process, 'SIGQUIT', data);
    const seen = last(reader, '/* leasehold: leader */ ');
    await resumeReplay(cluster, 'node3');
    await untilWaiting();
    await confirm(true);
    assert.equal(await seen, next);
    await open.query('ROLLBACK');
    await cluster.sql('node1', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO $$%'");
    await cluster.restart('node2');
  });
});
