import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Client } from 'pg';
import {
  connectTo,
  nodeOf,
  pauseReplay,
  resumeReplay,
  startProxy,
  until,
  untilServedBy,
} from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { stopProcess } from '../support/server-process.ts';

const DELAY_MS = 200;
const LATEST = 'SELECT max(i)::int AS n FROM t';
const isFollower = (node: string): boolean => node !== 'node1';

/** ROUTING.md, "Consistency levels", with followers that replay 200 ms late, and with followers that stand still. */
describe('consistency levels', () => {
  let cluster: ProxyCluster;
  let next = 0;
  const clients: Client[] = [];
  before(async () => {
    cluster = await ProxyCluster.start({
      followers: 2,
      followerSettings: [`recovery_min_apply_delay=${DELAY_MS}ms`],
    });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON t TO app; INSERT INTO t VALUES (0)');
    for (const name of ['node2', 'node3']) {
      await until(
        async () => (await cluster.sql(name, "SELECT to_regclass('public.t') IS NOT NULL")) === 't',
        `${name} has the table`,
      );
    }
  });
  after(async () => {
    await Promise.allSettled(clients.map((client) => client.end()));
    await cluster?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await resumeReplay(cluster, 'node2', 'node3');
    await Promise.allSettled(clients.splice(0).map((client) => client.end()));
  });

  async function session(level: string): Promise<Client> {
    const client = await connectTo(cluster.port, { options: `-c leasehold.consistency=${level}` });
    clients.push(client);
    return client;
  }
  const latest = async (client: Client): Promise<number> => (await client.query(LATEST)).rows[0].n as number;
  async function write(client: Client): Promise<number> {
    next += 1;
    await client.query('INSERT INTO t VALUES ($1)', [next]);
    return next;
  }
  /** Until a follower serves this session again: it is up with what was written. */
  const caughtUp = (client: Client): Promise<void> => untilServedBy(client, LATEST, isFollower);

  test('eventual reads from a follower that is late, and even right after its own commit', async () => {
    const client = await session('eventual');
    await caughtUp(client);
    const written = await write(client);
    assert.ok((await latest(client)) < written);
    assert.ok(isFollower(await nodeOf(client)));
  });

  test('eventual does not read from a follower beyond max_staleness', async () => {
    const client = await session('eventual');
    await client.query("SET leasehold.max_staleness = '400ms'");
    await client.query("SET leasehold.causal_wait = '10ms'");
    await caughtUp(client);
    await pauseReplay(cluster, 'node2', 'node3');
    const writer = await session('session');
    await until(async () => {
      const written = await write(writer);
      const seen = await latest(client);
      return seen === written && (await nodeOf(client)) === 'node1';
    }, 'followers that stand still are too stale');
  });

  test('session sees its own commits, others’ reads stay on the late followers', async () => {
    const client = await session('session');
    const other = await session('session');
    await caughtUp(other);
    for (let i = 0; i < 20; i += 1) {
      const written = await write(client);
      assert.equal(await latest(client), written);
      await other.query(LATEST);
      assert.ok(isFollower(await nodeOf(other)));
    }
    await caughtUp(client);
  });

  test('session never reads older data than it has read, from whichever node', async () => {
    const reader = await session('session');
    await caughtUp(reader);
    await pauseReplay(cluster, 'node2');
    const writer = await session('session');
    const written = await write(writer);
    // One read from the leader: from now on only who has replayed that may serve.
    assert.equal((await reader.query(`/* leasehold: leader */ ${LATEST}`)).rows[0].n, written);
    for (let i = 0; i < 30; i += 1) {
      assert.ok((await latest(reader)) >= written);
      assert.notEqual(await nodeOf(reader), 'node2');
    }
    await untilServedBy(reader, LATEST, (node) => node === 'node3');
  });

  test('session is bound by what it has read, also after SET, SHOW and eventual reads on a follower that is behind', async () => {
    const reader = await session('session');
    await untilServedBy(reader, LATEST, isFollower);
    await pauseReplay(cluster, 'node2');
    const written = await write(await session('session'));
    await until(async () => (await latest(reader)) === written, 'the reader has seen the write');
    await untilServedBy(reader, LATEST, (node) => node === 'node3');
    const between = [
      "SET work_mem = '5MB'",
      'SHOW random_page_cost',
      `/* leasehold: consistency=eventual */ ${LATEST}`,
    ];
    for (let i = 0; i < 60; i += 1) {
      await reader.query(between[i % 3] ?? '');
      assert.equal(await latest(reader), written, `after ${between[i % 3]}`);
    }
  });

  test('session stays monotonic over a follower that is started anew', async () => {
    const reader = await session('session');
    await untilServedBy(reader, LATEST, (node) => node === 'node3');
    const writer = await session('session');
    const written = await write(writer);
    await untilServedBy(reader, LATEST, (node) => node === 'node3');
    await until(async () => (await latest(reader)) === written, 'the reader has seen the write');
    const { process, data } = cluster.node('node3');
    await stopProcess(process, 'SIGQUIT', data);
    assert.equal(await latest(reader), written);
    await cluster.restart('node3');
    for (let i = 0; i < 30; i += 1) assert.ok((await latest(reader)) >= written);
  });

  test('database sees what any session of this proxy was told is committed', async () => {
    const strictest = await session('database');
    const usual = await session('session');
    const writer = await session('session');
    await caughtUp(strictest);
    await caughtUp(usual);
    const written = await write(writer);
    assert.ok((await latest(usual)) < written);
    assert.equal(await latest(strictest), written);
    assert.equal(await nodeOf(strictest), 'node1');
    await caughtUp(strictest);
    assert.equal(await latest(strictest), written);
  });

  test('strong reads from the leader, whoever wrote and wherever', async () => {
    const client = await session('strong');
    next += 1;
    await cluster.sql('node1', `INSERT INTO t VALUES (${next})`); // behind the proxy's back
    assert.equal(await latest(client), next);
    assert.equal(await nodeOf(client), 'node1');
  });

  test('a read that finds no follower fresh enough waits for one up to causal_wait, then the leader serves it', async () => {
    const client = await session('session');
    await client.query("SET leasehold.causal_wait = '5s'");
    // On a busy machine followers may fall silent for a moment: then there is none to wait for.
    await until(async () => {
      const written = await write(client);
      assert.equal(await latest(client), written);
      return isFollower(await nodeOf(client));
    }, 'it waited for a follower');
    await pauseReplay(cluster, 'node2', 'node3');
    await client.query("SET leasehold.causal_wait = '50ms'");
    const more = await write(client);
    const startedAt = performance.now();
    assert.equal(await latest(client), more);
    assert.equal(await nodeOf(client), 'node1');
    assert.ok(performance.now() - startedAt >= 45);
  });

  test('a read of several statements, or in the extended protocol, keeps the level', async () => {
    const client = await session('session');
    const written = await write(client);
    const results = (await client.query(`SELECT 1; ${LATEST}`)) as unknown as { rows: { n: number }[] }[];
    assert.equal(results[1]?.rows[0]?.n, written);
    const more = await write(client);
    assert.equal((await client.query({ name: 'latest', text: LATEST })).rows[0].n, more);
    await client.query('BEGIN READ ONLY');
    assert.equal(await latest(client), more);
    await client.query('COMMIT');
  });

  test('reads stay monotonic, and see the session’s writes, over a failover; without a leader they go on', async () => {
    const other = await startProxy(cluster, 'proxy2');
    const client = await session('session');
    const written = await write(client);
    await caughtUp(client);
    await pauseReplay(cluster, 'node3');
    const last = await write(client);
    await untilServedBy(client, LATEST, (node) => node === 'node2');
    await cluster.killLeader();
    await cluster.releaseLeader();
    for (let i = 0; i < 20; i += 1) {
      assert.equal(await latest(client), last);
      assert.equal(await nodeOf(client), 'node2');
    }
    await cluster.promote('node2');
    for (let i = 0; i < 20; i += 1) assert.equal(await latest(client), last);
    next += 1;
    assert.ok((await write(client)) > written);
    assert.equal(await latest(client), next);
    await other.stop();
  });
});
