import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type DatabaseError } from 'pg';
import { ProxyCluster } from '../support/proxy-cluster.ts';

describe('the leader is lost', () => {
  let cluster: ProxyCluster;
  const clients: Client[] = [];

  beforeEach(async () => {
    cluster = await ProxyCluster.start({ followers: 2, proxy: { hold: { deadlineMs: 8000 } } });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int PRIMARY KEY, v text); GRANT ALL ON public.t TO app');
    await cluster.sql('node1', "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (node2)'");
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    await sleep(200);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
    await cluster[Symbol.asyncDispose]();
  });

  async function connect(): Promise<Client & { lost: boolean }> {
    const client = Object.assign(new Client({ connectionString: cluster.url }), { lost: false });
    client.on('error', () => {
      client.lost = true;
    });
    await client.connect();
    clients.push(client);
    return client;
  }

  test('autocommit writes are held and go on; none that was acknowledged is lost; no session ends', async () => {
    const writers = await Promise.all(Array.from({ length: 8 }, () => connect()));
    const acknowledged: number[] = [];
    const unknown: number[] = [];
    let next = 0;
    let running = true;
    const work = writers.map(async (writer) => {
      while (running) {
        next += 1;
        const id = next;
        try {
          await writer.query('INSERT INTO t VALUES ($1)', [id]);
          acknowledged.push(id);
        } catch (error) {
          assert.equal((error as DatabaseError).code, '08007', String(error));
          unknown.push(id);
        }
      }
    });
    await sleep(500);
    await cluster.killLeader();
    const killedAt = acknowledged.length;
    await sleep(300);
    await cluster.promote('node2');
    await sleep(1_500);
    running = false;
    await Promise.all(work);
    assert.ok(acknowledged.length > killedAt + 50, `${acknowledged.length} after ${killedAt}`);
    assert.ok(unknown.length <= writers.length);
    assert.ok(writers.every(({ lost }) => !lost));
    const found = new Set((await cluster.sql('node2', 'SELECT i FROM t')).split('\n').map(Number));
    assert.deepEqual(
      acknowledged.filter((id) => !found.has(id)),
      [],
    );
  });

  test('a transaction gets 40001 and the session goes on', async () => {
    const inside = await connect();
    const between = await connect();
    const committing = await connect();
    for (const [n, client] of [inside, between, committing].entries()) {
      await client.query('PREPARE given AS SELECT 1');
      await client.query({ name: 'again', text: 'SELECT 1 AS n' });
      await client.query('BEGIN');
      await client.query('INSERT INTO t VALUES ($1)', [n]);
    }
    const sleeping = assert.rejects(inside.query('SELECT pg_sleep(10), pg_current_xact_id()'), { code: '40001' });
    await sleep(100);
    await cluster.killLeader();
    await sleeping;
    await assert.rejects(inside.query('SELECT 1'), { code: '25P02' });
    // A program that was not told so by its driver must not take the COMMIT for a success, by either protocol.
    await assert.rejects(inside.query({ name: 'end', text: 'COMMIT' }), { code: '40001' });
    // As psqlODBC gives up a name in a transaction. It takes no notice of the answer, and gives the name again.
    const givingUp = 'SAVEPOINT s; DEALLOCATE again; RELEASE s';
    await assert.rejects(between.query(givingUp), { code: '40001' });
    await assert.rejects(between.query('SELECT 1'), { code: '25P02' });
    await assert.rejects(between.query('COMMIT'), { code: '40001' });
    // Its COMMIT is the first to hear of the loss, and must not look like a success. Names are given up as if nothing were wrong.
    assert.equal((await committing.query('DEALLOCATE given')).command, 'DEALLOCATE');
    await assert.rejects(committing.query('COMMIT'), { code: '40001' });
    await cluster.promote('node2');
    await committing.query('PREPARE given AS SELECT 2');
    delete (between as unknown as { connection: { parsedStatements: Record<string, string> } }).connection
      .parsedStatements['again'];
    assert.deepEqual((await between.query({ name: 'again', text: 'SELECT 2 AS n' })).rows, [{ n: 2 }]);
    for (const client of [inside, between, committing]) {
      await client.query('BEGIN');
      await client.query('SELECT count(*) FROM t FOR SHARE').catch(() => client.query('ROLLBACK'));
      await client.query('ROLLBACK');
    }
    assert.equal(await cluster.sql('node2', 'SELECT count(*) FROM t'), '0');
  });

  test('a transaction whose BEGIN alone was sent is held and goes on', async () => {
    const client = await connect();
    await cluster.killLeader();
    await cluster.releaseLeader();
    await sleep(100);
    await client.query('BEGIN');
    const insert = client.query('INSERT INTO t VALUES (1)');
    await sleep(200);
    await cluster.promote('node2');
    await insert;
    await client.query('COMMIT');
    assert.equal(await cluster.sql('node2', 'SELECT count(*) FROM t'), '1');
  });

  test('reads go on from followers without a leader; a write past its deadline gets 57P03', async () => {
    const client = await connect();
    const reader = await connect();
    await cluster.killLeader();
    await cluster.releaseLeader();
    const started = Date.now();
    const write = assert.rejects(client.query('INSERT INTO t VALUES (1)'), (error: DatabaseError) => {
      assert.equal(error.code, '57P03');
      return true;
    });
    while (Date.now() - started < 1_000) assert.equal((await reader.query('SELECT 1 AS one')).rows[0].one, 1);
    // New clients come in as well.
    assert.equal((await (await connect()).query('SELECT count(*)::int AS n FROM t')).rows[0].n, 0);
    await write;
    const waited = Date.now() - started;
    assert.ok(waited > 7_000 && waited < 12_000, `${waited} ms`);
  });

  test('a planned hold delays writes and fails none', async () => {
    const writers = await Promise.all(Array.from({ length: 4 }, () => connect()));
    let written = 0;
    let running = true;
    const work = writers.map(async (writer, n) => {
      for (let i = 0; running; i++) {
        await writer.query('BEGIN');
        await writer.query('INSERT INTO t VALUES ($1)', [n * 100_000 + i]);
        await writer.query('COMMIT');
        written += 1;
      }
    });
    await sleep(300);
    await cluster.publish(true);
    await sleep(300);
    const held = written;
    await sleep(300);
    assert.equal(written, held);
    await cluster.publish(false);
    await sleep(500);
    running = false;
    await Promise.all(work);
    assert.ok(written > held);
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t'), String(written));
  });

  test('reads in flight on a follower that dies are run again elsewhere', async () => {
    const readers = await Promise.all(Array.from({ length: 6 }, () => connect()));
    let running = true;
    let reads = 0;
    const work = readers.map(async (reader) => {
      while (running) {
        const { rows } = await reader.query('SELECT pg_sleep(0.02), 7 AS seven');
        assert.equal(rows[0].seven, 7);
        reads += 1;
      }
    });
    await sleep(300);
    cluster.node('node3').process.kill('SIGQUIT');
    await sleep(700);
    running = false;
    await Promise.all(work);
    assert.ok(reads > 20);
    assert.ok(readers.every(({ lost }) => !lost));
  });

  test('a stopping proxy lets transactions end, and tells idle clients why they are closed', async () => {
    const idle = await connect();
    const busy = await connect();
    const told = new Promise<DatabaseError>((resolve) => idle.once('error', resolve));
    await busy.query('BEGIN');
    await busy.query('INSERT INTO t VALUES (1)');
    const stopped = cluster.stopProxy();
    assert.equal((await told).code, '57P01');
    await sleep(200);
    await busy.query('INSERT INTO t VALUES (2)');
    await busy.query('COMMIT');
    await stopped;
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t'), '2');
  });

  test('a session that asked for lastval goes on after its leader is lost, and has no value then', async () => {
    await cluster.sql('node1', 'CREATE SEQUENCE public.q; GRANT ALL ON public.q TO app');
    const client = await connect();
    await client.query('SELECT lastval()').catch(() => undefined);
    const { rows } = await client.query("SELECT nextval('q') AS mine");
    assert.equal((await client.query('SELECT lastval() AS mine')).rows[0].mine, rows[0].mine);
    const other = await connect();
    await other.query("SELECT nextval('q')");
    const beginning = await connect();
    await beginning.query("SELECT nextval('q')");
    await beginning.query('BEGIN'); // nothing of its transaction is lost yet
    await cluster.killLeader();
    await sleep(100);
    const sessions = [client, other, beginning];
    const writes = Promise.all(sessions.map((each, i) => each.query('INSERT INTO t VALUES ($1)', [i])));
    await cluster.promote('node2');
    await writes;
    await beginning.query('COMMIT');
    await assert.rejects(client.query('SELECT lastval()'), { code: '55000' });
    const own = (await client.query("SELECT nextval('q') AS mine")).rows[0].mine as string;
    await other.query("SELECT nextval('q')");
    assert.equal((await client.query("SELECT currval('q') AS mine")).rows[0].mine, own);
    assert.ok(!client.lost && !other.lost);
  });

  test('a session that listens is told by the end of its connection', async () => {
    const listener = await connect();
    await listener.query('LISTEN news');
    const ended = new Promise((resolve) => listener.once('end', resolve));
    await cluster.killLeader();
    await ended;
    assert.ok(listener.lost);
  });
});
