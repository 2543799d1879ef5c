import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type DatabaseError } from 'pg';
import { until } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';

const LIMIT_MS = 400;
/** One role for each setting; `password` is the name. */
const USERS = {
  query: { queryTimeoutMs: LIMIT_MS },
  transaction: { transactionTimeoutMs: 3 * LIMIT_MS },
  idle: { idleTransactionTimeoutMs: LIMIT_MS },
  gone: { clientIdleTimeoutMs: LIMIT_MS },
  few: { maxConnections: 1, waitTimeoutMs: 300 },
  lone: { maxClients: 1 },
  ann: {},
  bob: {},
  cid: {},
};

/** A leader and one follower; each role has a limit of its own. */
describe('pools and time-outs', () => {
  let cluster: ProxyCluster;
  const clients: Client[] = [];

  before(async () => {
    cluster = await ProxyCluster.start({
      followers: 1,
      proxy: { users: USERS, pool: { size: 5, maxConnectionsPerNode: 8 }, timeouts: { clientLoginTimeoutMs: 3000 } },
    });
    for (const user of Object.keys(USERS)) {
      await cluster.sql('node1', `CREATE ROLE "${user}" LOGIN PASSWORD '${user}'`);
    }
    await cluster.sql('node1', 'CREATE TABLE public.t (who text); GRANT ALL ON public.t TO public');
  });
  after(async () => {
    for (const client of clients) await client.end().catch(() => undefined);
    await cluster[Symbol.asyncDispose]();
  });

  async function connect(user = 'app'): Promise<Client> {
    const client = new Client({ connectionString: cluster.url.replace('app:app', `${user}:${user}`) });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  }

  /** The FATAL that ends an idle client. */
  async function fatalOf(user: string, ...statements: string[]): Promise<DatabaseError> {
    const client = await connect(user);
    const fatal = new Promise<DatabaseError>((resolve) =>
      client.on('error', (error) => 'code' in error && resolve(error as DatabaseError)),
    );
    for (const statement of statements) await client.query(statement);
    return await fatal;
  }

  const count = (sql: string) => cluster.sql('node1', `SELECT count(*) FROM ${sql}`);
  const idleOf = (user: string) => count(`pg_stat_activity WHERE usename = '${user}' AND state <> 'active'`);

  test('a statement that runs too long is cancelled with 57014, and the session and its transaction go on', async () => {
    const client = await connect('query');
    const late = { code: '57014', message: /query time-out of the proxy/, detail: /400 ms \(queryTimeoutMs\)/ };
    await assert.rejects(client.query('SELECT pg_sleep(60)'), late);
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
    await client.query('BEGIN');
    await client.query("INSERT INTO t VALUES ('rolled back')");
    await assert.rejects(client.query('SELECT pg_sleep(60)'), late);
    await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
    await client.query('ROLLBACK');
    await assert.rejects(client.query("INSERT INTO t SELECT 'no' FROM pg_sleep(60)"), late);
    assert.equal(await count('t'), '0');
    assert.equal(
      await count("pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' AND usename = 'query'"),
      '0',
    );
  });

  test('a COMMIT that is not answered in time is 08007 and not cancelled: it counts once followers acknowledge it', async () => {
    const client = await connect('query');
    await cluster.sql('node1', "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    // Each process of the server reads the new setting in its own time: until then commits do not wait.
    const commit = async (): Promise<string> => {
      await client.query('BEGIN');
      await client.query("INSERT INTO t VALUES ('late')");
      return await client.query('COMMIT').then(
        () => '',
        (error: DatabaseError) => `${error.code} ${error.message}`,
      );
    };
    let early = 0;
    try {
      let outcome = '';
      await until(async () => {
        outcome = await commit();
        early += outcome === '' ? 1 : 0;
        return outcome !== '';
      });
      assert.match(outcome, /^08007 .*COMMIT was in flight/);
      assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1, 'the session lives on');
      await until(
        async () => (await count("pg_stat_activity WHERE usename = 'query' AND wait_event = 'SyncRep'")) === '1',
      );
    } finally {
      await cluster.sql('node1', 'ALTER SYSTEM RESET synchronous_standby_names');
      await cluster.sql('node1', 'SELECT pg_reload_conf()');
    }
    await until(async () => (await count("t WHERE who = 'late'")) === String(early + 1));
    await until(async () => (await count("pg_stat_activity WHERE usename = 'query' AND state = 'active'")) === '0');
  });

  test('a client that does nothing in its transaction is ended with 25P03, and the transaction is rolled back', async () => {
    const fatal = await fatalOf('idle', 'BEGIN', "INSERT INTO t VALUES ('idle')");
    assert.deepEqual(
      [fatal.code, fatal.message],
      ['25P03', 'terminating connection due to idle-in-transaction timeout'],
    );
    await until(async () => (await idleOf('idle')) === '1' || (await idleOf('idle')) === '0');
    assert.equal(await count("t WHERE who = 'idle'"), '0');
    assert.equal(await count("pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'idle'"), '0');
  });

  test('a transaction that lasts too long is ended with 25P04, however busy its client is', async () => {
    const client = await connect('transaction');
    // It comes between two statements, or as the answer to one.
    const fatal = new Promise<unknown>((resolve) => client.on('error', resolve));
    await client.query('BEGIN');
    const busy = async (): Promise<unknown> => {
      for (;;) {
        const error = await client.query("INSERT INTO t VALUES ('busy')").then(
          () => null,
          (each: unknown) => each,
        );
        if (error !== null) return (error as DatabaseError).code === undefined ? await fatal : error;
        await sleep(20);
      }
    };
    const { code, message } = (await busy()) as DatabaseError;
    assert.deepEqual([code, message], ['25P04', 'terminating connection due to transaction timeout']);
    assert.equal(await count("t WHERE who = 'busy'"), '0');
    const other = await connect('transaction');
    for (let i = 0; i < 8; i++) {
      await other.query('BEGIN');
      await other.query('SELECT pg_sleep(0.2)');
      await other.query('COMMIT');
    }
  });

  test('a client that does nothing at all is ended with 57P05', async () => {
    const fatal = await fatalOf('gone', 'SELECT 1');
    assert.deepEqual([fatal.code, fatal.severity], ['57P05', 'FATAL']);
  });

  test('a client that does not log in in time is sent away', async () => {
    const { connect: dial } = await import('node:net');
    const socket = dial(cluster.port, '127.0.0.1');
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  });

  test('a write that goes on after its client has gone lasts no longer than it might have with it', async () => {
    const client = await connect('query');
    const lost = assert.rejects(client.query("INSERT INTO t SELECT 'gone' FROM pg_sleep(60)"));
    const running = () => count("pg_stat_activity WHERE usename = 'query' AND query ~ 'pg_sleep' AND state = 'active'");
    await until(async () => (await running()) === '1');
    (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
    await lost;
    await until(async () => (await running()) === '0');
    assert.equal(await count("t WHERE who = 'gone'"), '0');
  });

  test('a user at its limit of connections is refused after its wait, with the setting and who holds them', async () => {
    const one = await connect('few');
    await one.query('BEGIN');
    await one.query('INSERT INTO t VALUES (NULL)');
    const two = await connect('few').catch((error: DatabaseError) => error);
    assert.ok(!(two instanceof Client));
    assert.equal(two.code, '53300');
    assert.match(
      two.detail ?? '',
      /limit of 1 connections \(proxy\.users\.few\.maxConnections\) is reached: "few" in "app" on node1 1 \(1 in use\)/,
    );
    await one.query('ROLLBACK');
    const three = await connect('few');
    // Its one connection moves between the nodes.
    for (let i = 0; i < 3; i++) {
      await three.query("INSERT INTO t VALUES ('few')");
      assert.equal((await three.query("SELECT count(*) AS n FROM t WHERE who = 'few'")).rows[0].n, String(i + 1));
    }
  });

  test('a user at its limit of clients is refused at log-in', async () => {
    await connect('lone');
    await assert.rejects(connect('lone'), { code: '53300', detail: 'User "lone" may have 1 clients at most.' });
  });

  test('the connections to a node stay within their limit, whoever wants them', async () => {
    const users = ['app', 'ann', 'bob', 'cid'];
    const all = await Promise.all(users.flatMap((user) => [1, 2, 3, 4].map(() => connect(user))));
    const names = users.map((user) => `'${user}'`).join();
    let most = 0;
    let running = true;
    const watch = (async () => {
      while (running) {
        most = Math.max(most, Number(await count(`pg_stat_activity WHERE usename IN (${names})`)));
      }
    })();
    const work = Promise.all(
      all.map(async (client) => {
        for (let i = 0; i < 20; i++) await client.query("INSERT INTO t SELECT 'x' FROM pg_sleep(0.005)");
      }),
    );
    await work.finally(() => (running = false));
    await watch;
    assert.ok(most <= 8 && most >= 4, `${most} connections`);
  });

  test('a client that drops in the middle of its transaction leaves a server on which nothing is open', async () => {
    for (let i = 0; i < 5; i++) {
      const raw = await RawClient.connect({ port: cluster.port });
      const sql = Buffer.from("BEGIN; INSERT INTO t VALUES ('dropped'); SELECT pg_sleep(0.3)\0");
      const head = Buffer.from('Q\0\0\0\0', 'latin1');
      head.writeInt32BE(sql.length + 4, 1);
      raw.send(head, sql);
      if (i % 2 === 0) await sleep(5 * i);
      raw.close();
    }
    await until(async () => (await count("pg_stat_activity WHERE usename = 'app' AND state <> 'idle'")) === '0');
    assert.equal(await count("t WHERE who = 'dropped'"), '0');
    const client = await connect();
    const { rows } = await client.query(
      'SELECT pg_current_xact_id_if_assigned() AS id, count(*) AS n FROM t WHERE who = $1',
      ['dropped'],
    );
    assert.deepEqual(rows[0], { id: null, n: '0' });
  });
});
