import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type DatabaseError } from 'pg';
import { ProxyCluster } from '../support/proxy-cluster.ts';

const REPLAY_DELAY_MS = 300;

describe('statements go where they belong', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({
      followers: 2,
      followerSettings: [`recovery_min_apply_delay=${REPLAY_DELAY_MS}ms`],
      proxy: { pool: { size: 4, waitTimeoutMs: 700, maxWaiting: 3 }, maxClients: 60 },
    });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int PRIMARY KEY, v text)');
    await cluster.sql('node1', 'GRANT ALL ON public.t TO app; GRANT ALL ON SCHEMA public TO app');
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect(options = ''): Promise<Client> {
    const client = new Client({ connectionString: cluster.url, ...(options === '' ? {} : { options }) });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async function served(): Promise<Record<string, number>> {
    const text = await (await fetch(`${cluster.proxy?.httpUrl}/metrics`)).text();
    const totals: Record<string, number> = {};
    for (const [, role, count] of text.matchAll(/leasehold_statements_total\{.*role="(\w+)".*\} (\d+)/g)) {
      totals[role as string] = (totals[role as string] ?? 0) + Number(count);
    }
    return totals;
  }

  async function roleOf(work: () => Promise<unknown>): Promise<string> {
    const before = await served();
    await work();
    const now = await served();
    return Object.keys(now)
      .filter((role) => (now[role] ?? 0) > (before[role] ?? 0))
      .join('+');
  }

  test('a session always sees what it wrote, though followers replay late; others read from followers', async () => {
    const writer = await connect();
    const reader = await connect();
    await writer.query('CREATE TABLE own (i int)');
    await sleep(REPLAY_DELAY_MS + 300);
    for (let i = 1; i <= 60; i++) {
      await writer.query('INSERT INTO own VALUES ($1)', [i]);
      const { rows } = await writer.query('SELECT count(*)::int AS n FROM own');
      assert.equal(rows[0].n, i);
      assert.equal(await roleOf(() => reader.query('SELECT count(*) FROM own')), 'follower');
    }
    await sleep(REPLAY_DELAY_MS + 300);
    assert.equal(await roleOf(() => writer.query('SELECT count(*) FROM own')), 'follower');
    await writer.end();
    await reader.end();
  });

  test('a session never reads backwards in time when it changes followers', async () => {
    const writer = await connect();
    const reader = await connect();
    await writer.query('CREATE TABLE clock (n int)');
    await writer.query('INSERT INTO clock VALUES (0)');
    await sleep(REPLAY_DELAY_MS + 300);
    let last = 0;
    const until = Date.now() + 2_000;
    const writing = (async () => {
      while (Date.now() < until) await writer.query('UPDATE clock SET n = n + 1');
    })();
    while (Date.now() < until) {
      const { rows } = await reader.query('SELECT n FROM clock');
      assert.ok(rows[0].n >= last, `${rows[0].n} after ${last}`);
      last = rows[0].n;
    }
    await writing;
    assert.ok(last > 0);
    await writer.end();
    await reader.end();
  });

  const ROUTES: readonly (readonly [string, string, 'leader' | 'follower'])[] = [
    ['a plain SELECT', 'SELECT 1', 'follower'],
    ['SELECT FOR UPDATE', 'SELECT * FROM t FOR UPDATE', 'leader'],
    ['a writing CTE', "WITH w AS (INSERT INTO t VALUES (900, 'x') RETURNING i) SELECT * FROM w", 'leader'],
    ['pg_is_in_recovery()', 'SELECT pg_is_in_recovery()', 'leader'],
    ['COPY of a table to the client', 'SELECT count(*) FROM t', 'follower'],
    ['a leader hint', '/* leasehold: leader */ SELECT 1', 'leader'],
    ['a text that does not parse', 'SELECT FROM FROM', 'leader'],
  ];
  for (const [name, sql, role] of ROUTES) {
    test(`${name} goes to the ${role}`, async () => {
      // A new client sees what others were told is committed: a follower has to have that first.
      if (role === 'follower') await sleep(REPLAY_DELAY_MS + 300);
      const client = await connect();
      assert.equal(await roleOf(() => client.query(sql).catch(() => null)), role);
      await client.end();
    });
  }

  test('BEGIN READ ONLY reads from a follower, a plain BEGIN from the leader', async () => {
    const client = await connect();
    const transaction = (begin: string) => async () => {
      await client.query(begin);
      await client.query('SELECT 1');
      await client.query('COMMIT');
    };
    assert.equal(await roleOf(transaction('BEGIN READ ONLY')), 'follower');
    assert.equal(await roleOf(transaction('BEGIN')), 'leader');
    await client.query('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY');
    await sleep(REPLAY_DELAY_MS + 300); // until the followers show what was read from the leader
    assert.equal(await roleOf(transaction('BEGIN')), 'follower');
    await client.end();
  });

  test('consistency strong reads from the leader, by option and by SET', async () => {
    const client = await connect('-c leasehold.consistency=strong');
    assert.equal(await roleOf(() => client.query('SELECT 1')), 'leader');
    await client.query("SET leasehold.consistency = 'eventual'");
    const { rows } = await client.query('SHOW leasehold.consistency');
    assert.deepEqual(rows, [{ 'leasehold.consistency': 'eventual' }]);
    assert.equal(await roleOf(() => client.query('SELECT 1')), 'follower');
    await assert.rejects(client.query("SET leasehold.consistency = 'much'"), { code: '22023' });
    await client.end();
  });

  test('a function that claims to be stable and writes runs on the leader, and is learned', async () => {
    const client = await connect();
    await client.query(
      `CREATE FUNCTION sly(n int) RETURNS int STABLE LANGUAGE plpgsql AS
       $$ BEGIN EXECUTE 'INSERT INTO t VALUES (' || n || ')'; RETURN n; END $$`,
    );
    await sleep(REPLAY_DELAY_MS + 600);
    for (const n of [501, 502]) {
      const outcome = await client.query('SELECT sly($1)', [n]).catch((error: DatabaseError) => error.code);
      // PostgreSQL itself refuses the INSERT in a non-volatile function, with its own error: not with the follower's.
      assert.equal(outcome, '0A000');
    }
    await client.end();
  });

  test('settings follow the session, and do not leak to others', async () => {
    const mine = await connect();
    const other = await connect();
    await mine.query("SET search_path = 'pg_catalog'; SET app.tenant = 'mine'");
    for (let i = 0; i < 4; i++) {
      const [a, b] = await Promise.all([
        mine.query("SELECT current_setting('app.tenant', true) AS tenant, current_schemas(false)::text AS path"),
        other.query("SELECT current_setting('app.tenant', true) AS tenant, current_schemas(false)::text AS path"),
      ]);
      assert.deepEqual(a.rows, [{ tenant: 'mine', path: '{pg_catalog}' }]);
      assert.ok(['', null].includes(b.rows[0].tenant));
      assert.equal(b.rows[0].path, '{public}');
    }
    await mine.query('BEGIN');
    await mine.query("SET app.tenant = 'undone'");
    await mine.query('ROLLBACK');
    assert.equal((await mine.query('SHOW app.tenant')).rows[0]['app.tenant'], 'mine');
    await mine.end();
    await other.end();
  });

  test('named statements work on whichever server answers, and are shared', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect()));
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(
        clients.map((client, n) => client.query({ name: 'same', text: `SELECT $1::int + ${n} AS x`, values: [round] })),
      );
      assert.deepEqual(
        results.map(({ rows }) => rows[0].x),
        clients.map((_, n) => round + n),
      );
    }
    await Promise.all(clients.map((client) => client.end()));
  });

  test('a full pool refuses with 53300 and says what is full', async () => {
    const holders = await Promise.all(Array.from({ length: 4 }, () => connect()));
    for (const holder of holders) {
      await holder.query('BEGIN');
      await holder.query('SELECT pg_current_xact_id()');
    }
    const late = await connect();
    await assert.rejects(late.query("INSERT INTO t VALUES (700, 'late')"), (error: DatabaseError) => {
      assert.equal(error.code, '53300');
      assert.match(error.message, /no server connection for user "app" to database "app" on node1/);
      assert.match(error.hint ?? '', /proxy\.pool\.size/);
      return true;
    });
    for (const holder of holders) await holder.query('ROLLBACK');
    await late.query("INSERT INTO t VALUES (700, 'now')");
    await Promise.all([...holders, late].map((client) => client.end()));
  });

  test('a cancel request ends the statement of its session only', async () => {
    const sleeper = await connect();
    const other = await connect();
    const started = Date.now();
    const cancelled = assert.rejects(sleeper.query('SELECT pg_sleep(20)'), { code: '57014' });
    const bystander = other.query('SELECT pg_sleep(0.6)');
    await sleep(200);
    const { processID, secretKey } = sleeper as unknown as { processID: number; secretKey: number };
    await sendCancel(cluster.port, processID, secretKey);
    await cancelled;
    await bystander;
    assert.ok(Date.now() - started < 5_000);
    assert.equal((await sleeper.query('SELECT 1 AS one')).rows[0].one, 1);
    await sleeper.end();
    await other.end();
  });

  test('an unknown database and a wrong password are refused as PostgreSQL does', async () => {
    const unknown = new Client({ connectionString: cluster.url.replace(/app$/, 'nosuch') });
    await assert.rejects(unknown.connect(), { code: '3D000' });
    const wrong = new Client({ connectionString: cluster.url.replace(':app@', ':wrong@') });
    await assert.rejects(wrong.connect(), { code: '28P01' });
    const invalid = new Client({ connectionString: cluster.url, options: '-c work_mem=much' });
    await assert.rejects(invalid.connect(), { code: '22023' });
  });

  test('more clients than allowed are refused with 53300', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 70 }, () => connect()));
    const refused = outcomes.filter((each) => each.status === 'rejected');
    assert.ok(refused.length >= 10);
    for (const { reason } of refused) assert.equal((reason as DatabaseError).code, '53300');
    for (const each of outcomes) if (each.status === 'fulfilled') await each.value.end();
  });

  test('a client that vanishes in a transaction leaves no lock behind', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query("INSERT INTO t VALUES (800, 'gone')");
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    const next = await connect();
    await next.query("INSERT INTO t VALUES (800, 'mine')");
    await next.end();
  });
});

async function sendCancel(port: number, processId: number, secretKey: number): Promise<void> {
  const { connect } = await import('node:net');
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(80877102, 4);
  request.writeInt32BE(processId, 8);
  request.writeInt32BE(secretKey, 12);
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.resume();
  });
}
