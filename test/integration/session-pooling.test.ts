import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client, type ClientConfig } from 'pg';
import { Clients } from '../support/clients.ts';
import { until } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { SCRIPTS } from '../support/protocol-scripts.ts';
import { playScript } from '../support/play-script.ts';

/** Session pooling for the user `app`; `postgres` has transaction pooling. The last test takes the leader away. */
describe('session pooling', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = (more?: ClientConfig) => clients.connect(more);

  before(async () => {
    cluster = await ProxyCluster.start({
      followers: 1,
      proxy: { users: { app: { poolMode: 'session' } }, pool: { size: 4, waitTimeoutMs: 10_000 } },
    });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON public.t TO app; INSERT INTO t VALUES (1)');
    await cluster.sql(
      'node1',
      `CREATE TABLE public.hiding (i int); GRANT ALL ON public.hiding TO app;
       CREATE FUNCTION public.hide() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM set_config('app.hidden', 'mine', false); RETURN new; END $$;
       CREATE TRIGGER hide BEFORE INSERT ON public.hiding FOR EACH ROW EXECUTE FUNCTION public.hide()`,
    );
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  async function pidOf(client: Client): Promise<number> {
    return (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  }

  async function show(what: string): Promise<Record<string, string | null>[]> {
    const console = new Client({ connectionString: cluster.url.replace(/app$/, 'leasehold') });
    await console.connect();
    const { rows } = await console.query(`SHOW ${what}`);
    await console.end();
    return rows;
  }

  async function rowOf(client: { processID: number }): Promise<Record<string, string | null> | undefined> {
    return (await show('CLIENTS')).find(({ id }) => Number(id) === client.processID);
  }

  async function alive(pid: number): Promise<boolean> {
    return (await cluster.sql('node1', `SELECT count(*) FROM pg_stat_activity WHERE pid = ${pid}`)) === '1';
  }

  test('a client keeps one server, whose process id it was given, and SHOW CLIENTS says why', async () => {
    const client = await connect();
    const other = await connect();
    const pid = await pidOf(client);
    assert.equal(client.processID, pid);
    for (let i = 0; i < 3; i++) {
      await Promise.all([client.query('INSERT INTO t VALUES (2)'), other.query('INSERT INTO t VALUES (3)')]);
      assert.equal(await pidOf(client), pid);
    }
    assert.notEqual(await pidOf(other), pid);
    const row = await rowOf(client);
    assert.deepEqual([row?.['pins'], row?.['node']], ['session-pooling', 'node1']);
    await client.end();
    await other.end();
  });

  test('state that the proxy cannot see is there for the next statement, and gone for the next client', async () => {
    const client = await connect();
    const pid = await pidOf(client);
    await client.query('INSERT INTO hiding VALUES (1)');
    await client.query('BEGIN');
    await client.query('SELECT 1');
    await client.query('COMMIT');
    const hidden = async (of: Client): Promise<string> =>
      (await of.query("SELECT txid_current(), current_setting('app.hidden', true) AS v")).rows[0].v;
    assert.equal(await hidden(client), 'mine');
    await client.end();
    await until(async () => {
      const state = await cluster.sql('node1', `SELECT state, query FROM pg_stat_activity WHERE pid = ${pid}`);
      return state === 'idle|DISCARD ALL';
    });
    const next = await connect();
    assert.equal(await pidOf(next), pid); // last in, first out
    assert.notEqual(await hidden(next), 'mine');
    await next.end();
  });

  test('plain reads outside a transaction still go to followers, with the settings of the session', async () => {
    const client = await connect();
    await client.query("SET app.tenant = 'x'");
    await until(async () => {
      const { rows } = await client.query("SELECT pg_sleep(0), current_setting('app.tenant') AS tenant");
      assert.equal(rows[0].tenant, 'x');
      return (await client.query('SHOW leasehold.node')).rows[0]['leasehold.node'] === 'node2';
    });
    await client.query('CREATE TEMPORARY TABLE mine (i int)');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM mine')).rows[0].n, 0); // pinned to its own
    await client.end();
  });

  test('other users of the same proxy have transaction pooling', async () => {
    const client = await connect({ connectionString: cluster.url.replace('app:app', 'postgres:postgres') });
    await client.query('CREATE TABLE IF NOT EXISTS public.u (i int)');
    assert.equal((await rowOf(client))?.['pins'], '');
    await client.end();
  });

  for (const [name, steps] of Object.entries(SCRIPTS)) {
    if (!/settings|one server|transactions|notices|named/.test(name)) continue;
    test(`as from the server itself: ${name}`, async () => {
      const direct = await playScript(cluster.node('node1').port, steps);
      assert.deepEqual(await playScript(cluster.port, steps), direct);
    });
  }

  test('a client that vanishes in a transaction takes its server with it; one that is idle gives it back', async () => {
    const busy = await connect();
    const idle = await connect();
    const [busyPid, idlePid] = [await pidOf(busy), await pidOf(idle)];
    await busy.query('BEGIN');
    await busy.query('LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
    for (const client of [busy, idle])
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    await until(async () => !(await alive(busyPid)));
    assert.ok(await alive(idlePid));
  });

  test('as many clients as the pool has connections; the next one waits until one leaves', async () => {
    const all = [await connect(), await connect(), await connect(), await connect()];
    let waited = true;
    const fifth = connect().then((client) => {
      assert.equal(waited, false);
      return client;
    });
    await until(async () => (await show('POOLS')).some(({ cl_waiting }) => Number(cl_waiting) === 1));
    waited = false;
    for (const client of all) await client.end();
    await (await fifth).end();
  });

  test('after a failover the session goes on, unless it had what cannot be made anew', async () => {
    const plain = await connect();
    const pinned = await connect();
    const waiting = await connect();
    await plain.query("SET app.tenant = 'kept'");
    await pinned.query('CREATE TEMPORARY TABLE mine (i int)');
    await waiting.query('INSERT INTO t VALUES (5)');
    const before = await pidOf(plain);
    const lost = new Promise((resolve) => pinned.once('error', resolve));
    await cluster.publish(true);
    const held = waiting.query('INSERT INTO t VALUES (6) RETURNING i'); // waits with its own connection
    await until(async () => (await rowOf(waiting))?.['state'] === 'held');
    await cluster.killLeader();
    await cluster.promote('node2');
    assert.match(JSON.stringify(await lost), /what this session kept on its server is gone/);
    assert.deepEqual((await held).rows, [{ i: 6 }]);
    assert.equal((await plain.query("SELECT txid_current(), current_setting('app.tenant') AS v")).rows[0].v, 'kept');
    assert.notEqual(await pidOf(plain), before);
  });
});
