import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, type DatabaseError } from 'pg';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** Found by PostgreSQL's regression suite: what a session meets on followers that have not replayed its past yet. */
const REPLAY_DELAY_MS = 400;
const SUPERUSER = { user: 'postgres', password: 'postgres', database: 'app' };

let cluster: ProxyCluster;
before(async () => {
  cluster = await ProxyCluster.start({
    followers: 2,
    followerSettings: [`recovery_min_apply_delay=${REPLAY_DELAY_MS}ms`],
  });
});
after(() => cluster[Symbol.asyncDispose]());

async function connect(options = ''): Promise<Client> {
  const client = new Client({
    host: '127.0.0.1',
    port: cluster.port,
    ...SUPERUSER,
    ...(options === '' ? {} : { options }),
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function who(client: Client): Promise<unknown> {
  const { rows } = (await client.query('SELECT current_user AS name')) as { rows: { name: string }[] };
  return rows[0]?.name;
}

test('SET ROLE and SET SESSION AUTHORIZATION know a role that was made a moment ago', async () => {
  const client = await connect();
  for (let i = 0; i < 5; i++) {
    await client.query(`CREATE ROLE fresh${i}`);
    await client.query(`SET ROLE fresh${i}`);
    assert.equal(await who(client), `fresh${i}`);
    await client.query(`SET application_name = 'as fresh${i}'`);
    await client.query('RESET ROLE');
    await client.query(`SET SESSION AUTHORIZATION fresh${i}`);
    assert.equal(await who(client), `fresh${i}`);
    await client.query('RESET SESSION AUTHORIZATION');
  }
  await client.end();
});

test('a role that another session made a moment ago serves for SET ROLE, and for reads under it', async () => {
  const maker = await connect();
  const user = await connect();
  for (let i = 0; i < 5; i++) {
    await maker.query(`CREATE ROLE theirs${i}`);
    await user.query(`SET ROLE theirs${i}`);
    assert.equal(await who(user), `theirs${i}`);
    await user.query('RESET ROLE');
  }
  await maker.query('CREATE ROLE at_login');
  const later = await connect('-c role=at_login');
  assert.equal(await who(later), 'at_login');
  for (const client of [maker, user, later]) await client.end();
});

test('a new session sees what was acknowledged before it connected', async () => {
  const first = await connect();
  await first.query('CREATE TABLE before_me (i int)');
  for (let i = 1; i <= 10; i++) {
    await first.query('INSERT INTO before_me VALUES ($1)', [i]);
    const next = await connect();
    const { rows } = (await next.query('SELECT count(*)::int AS n FROM before_me')) as { rows: { n: number }[] };
    assert.equal(rows[0]?.n, i);
    await next.end();
  }
  await first.end();
});

test('SET of one part of DateStyle keeps the other on every server that comes later', async () => {
  const client = await connect('-c datestyle=Postgres,MDY');
  await client.query('SET datestyle TO iso');
  await client.query('SET datestyle TO ymd');
  for (const sql of ["SELECT date '99-01-08' AS day", "SELECT date '99-01-08' AS day, pg_backend_pid()"]) {
    const { rows } = (await client.query({ text: sql, types: { getTypeParser: () => String } })) as {
      rows: { day: string }[];
    };
    assert.equal(rows[0]?.day, '1999-01-08', sql);
  }
  await client.end();
});

test('a server that keeps something for its session is not set anew when the session changes its user', async () => {
  const client = await connect();
  await client.query('LISTEN kept');
  await client.query("SET plpgsql.no_such_setting = 'x'"); // a placeholder, which the library takes away
  await client.query("LOAD 'plpgsql'");
  await client.query('SET SESSION AUTHORIZATION app');
  const { rows } = (await client.query('SELECT pg_listening_channels() AS name')) as { rows: { name: string }[] };
  assert.deepEqual(rows, [{ name: 'kept' }]);
  await client.end();
});

test('a session that ends with its server hears what the server said', async () => {
  const client = await connect();
  await client.query('LISTEN kept');
  await assert.rejects(client.query('SELECT pg_terminate_backend(pg_backend_pid())'), (error: DatabaseError) => {
    assert.equal(error.code, '57P01');
    assert.equal(error.message, 'terminating connection due to administrator command');
    assert.match(error.detail ?? '', /what this session kept on its server is gone \(listen\)/);
    return true;
  });
});

test('what a DO block or a procedure set in its session stays there, and reaches no other session', async () => {
  const one = await connect();
  const other = await connect();
  const seen = async (client: Client): Promise<{ pid: number; memory: string }> => {
    const sql = "SELECT pg_backend_pid() AS pid, current_setting('work_mem') AS memory";
    const { rows } = (await client.query(sql)) as { rows: { pid: number; memory: string }[] };
    return rows[0] ?? assert.fail('no row');
  };
  const { memory: usual } = await seen(one);
  await one.query("CREATE PROCEDURE sets() LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '78MB'; END $$");
  const servers = new Set<number>();
  for (const [sql, memory] of [
    ["DO $$ BEGIN SET work_mem = '77MB'; END $$", '77MB'],
    ['CALL sets()', '78MB'],
  ] as const) {
    await one.query(sql);
    const own = await seen(one);
    assert.equal(own.memory, memory, sql);
    assert.equal((await seen(other)).memory, usual, sql);
    servers.add(own.pid);
  }
  await one.end();
  // Whoever comes next, also on the server connection that `one` had, finds what is usual.
  for (let i = 0; i < 5; i++) {
    const next = await connect();
    assert.equal((await seen(next)).memory, usual);
    await next.end();
  }
  assert.equal((await seen(other)).memory, usual);
  await other.end();
  assert.equal(servers.size, 1, 'the session kept its server');
});

test('READ ONLY transactions that share a snapshot, as those of pg_dump with several jobs, meet on one server', async () => {
  const [first, second, writer] = [await connect(), await connect(), await connect()];
  await writer.query('CREATE TABLE shared (i int)');
  await writer.query('INSERT INTO shared VALUES (1)');
  const begin = async (client: Client): Promise<void> => {
    await client.query('BEGIN');
    await client.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  };
  await begin(first);
  const { rows } = (await first.query('SELECT pg_export_snapshot() AS id')) as { rows: { id: string }[] };
  await writer.query('INSERT INTO shared VALUES (2)');
  for (let i = 0; i < 4; i++) {
    await begin(second);
    await second.query(`SET TRANSACTION SNAPSHOT '${rows[0]?.id}'`);
    const seen = (await second.query('SELECT count(*)::int AS n FROM shared')) as { rows: { n: number }[] };
    assert.equal(seen.rows[0]?.n, 1);
    await second.query('COMMIT');
  }
  for (const client of [first, second, writer]) await client.end();
});
