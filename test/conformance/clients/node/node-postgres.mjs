import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { allFound, BIG_INT, BYTES, goOn, NUMERIC, refused, run, same, table, TEXT, until, UUID } from './harness.mjs';

async function connect(options = {}) {
  const client = new pg.Client({ ssl: false, ...options });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function withClient(work, options) {
  const client = await connect(options);
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function one(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: 'array' });
  return rows[0]?.[0];
}

async function fresh(client, name, columns) {
  await client.query(`DROP TABLE IF EXISTS ${table(name)}; CREATE TABLE ${table(name)} (${columns})`);
  return table(name);
}

const goOnDuring = (name) => () =>
  withClient(
    async (client) => {
      const t = await fresh(client, name, 'i int');
      await client.query("SET work_mem = '5MB'");
      const acknowledged = await goOn(name, async (number, inTransaction) => {
        if (!inTransaction) return client.query(`INSERT INTO ${t} VALUES ($1)`, [number]);
        try {
          await client.query('BEGIN');
          await client.query(`INSERT INTO ${t} VALUES ($1)`, [number]);
          return await client.query('COMMIT');
        } catch (error) {
          await client.query('ROLLBACK');
          throw error;
        }
      });
      const { rows } = await client.query(`SELECT i FROM ${t}`);
      allFound(
        rows.map((row) => row.i),
        acknowledged,
      );
      same(await one(client, 'SHOW work_mem'), '5MB', 'setting of the session');
      same(await one(client, 'SHOW application_name'), 'goes on');
    },
    { application_name: 'goes on' },
  );

await run({
  connect: () =>
    withClient(
      async (client) => {
        same(await one(client, 'SHOW application_name'), 'conformance');
        same(await one(client, 'SHOW statement_timeout'), '61s');
      },
      { application_name: 'conformance', statement_timeout: 61_000 },
    ),
  types: () =>
    withClient(async (client) => {
      const columns =
        'i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, jb jsonb, u uuid, x text';
      const t = await fresh(client, 'types', columns);
      const j = { a: [1, 2, { b: null }], ü: '🌍' };
      const z = new Date('2026-02-03T04:05:06.789Z');
      const row = [BIG_INT, NUMERIC, TEXT, BYTES, z, [1, null, 3], ['a', 'b c', 'd,"e'], j, j, UUID, null];
      await client.query(`INSERT INTO ${t} VALUES (${row.map((_, i) => `$${i + 1}`).join()})`, row);
      const { rows } = await client.query({ text: `SELECT * FROM ${t}`, rowMode: 'array' });
      same(rows[0], row);
    }),
  transactions: () =>
    withClient(async (client) => {
      const t = await fresh(client, 'tx', 'i int');
      await client.query(`BEGIN; INSERT INTO ${t} VALUES (1); COMMIT`);
      await client.query('BEGIN');
      await client.query(`INSERT INTO ${t} VALUES (2)`);
      await client.query('ROLLBACK');
      await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
      await client.query(`INSERT INTO ${t} VALUES (3)`);
      await client.query('SAVEPOINT s');
      await client.query(`INSERT INTO ${t} VALUES (4)`);
      await refused(() => client.query('SELECT 1/0'), '22012');
      await client.query('ROLLBACK TO SAVEPOINT s');
      await client.query(`INSERT INTO ${t} VALUES (5)`);
      await client.query('COMMIT');
      const { rows } = await client.query({ text: `SELECT i FROM ${t} ORDER BY i`, rowMode: 'array' });
      same(rows.flat(), [1, 3, 5]);
    }),
  prepared: () =>
    withClient(async (client) => {
      const t = await fresh(client, 'prepared', 'id int primary key, v text');
      const put = { name: 'put', text: `INSERT INTO ${t} VALUES ($1, $2)` };
      const get = { name: 'get', text: `SELECT v FROM ${t} WHERE id = $1` };
      for (let i = 0; i < 100; i++) {
        await client.query({ ...put, values: [i, `v${i}`] });
        same((await client.query({ ...get, values: [i] })).rows, [{ v: `v${i}` }]);
        same(await one(client, `SELECT v FROM ${t} WHERE id = $1 AND ${i} = ${i}`, [i]), `v${i}`);
      }
      await client.query(`ALTER TABLE ${t} ADD COLUMN w int DEFAULT 7`);
      same((await client.query({ ...get, values: [5] })).rows, [{ v: 'v5' }]);
    }),
  copy: () =>
    withClient(async (client) => {
      const t = await fresh(client, 'copy', 'i int, t text');
      const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\tline ü ${i}\n`);
      const into = client.query(copyFrom(`COPY ${t} FROM STDIN`));
      await pipeline(Readable.from(lines), into);
      same(into.rowCount, 20_000);
      const out = client.query(copyTo(`COPY (SELECT * FROM ${t} ORDER BY i) TO STDOUT`));
      const chunks = await out.toArray(); // one may end within a character
      same(Buffer.concat(chunks).toString() === lines.join(''), true, 'what came back');
      await refused(
        () => pipeline(Readable.from(['no number\tx\n']), client.query(copyFrom(`COPY ${t} FROM STDIN`))),
        '22P02',
      );
      same(await one(client, `SELECT count(*)::int FROM ${t}`), 20_000);
    }),
  cancel: () =>
    withClient(async (client) => {
      const started = performance.now();
      const sleeping = refused(() => client.query('SELECT pg_sleep(30)'), '57014');
      setTimeout(() => {
        const canceller = new pg.Client({ ssl: false });
        canceller.cancel(client, client.activeQuery);
      }, 300);
      await sleeping;
      if (performance.now() - started > 5000) throw new Error('late');
      same(await one(client, 'SELECT 5'), 5);
    }),
  error: () =>
    withClient(async (client) => {
      const t = await fresh(client, 'error', 'i int primary key');
      await refused(() => client.query('SELECT 1/0'), '22012');
      await refused(() => client.query('SELECT * FROM no_such_table WHERE i = $1', [1]), '42P01');
      same((await refused(() => client.query('SELEC 1'), '42601')).position, '1');
      await client.query(`INSERT INTO ${t} VALUES (1)`);
      const error = await refused(() => client.query(`INSERT INTO ${t} VALUES ($1)`, [1]), '23505');
      same([error.constraint, error.detail], [`${t}_pkey`, 'Key (i)=(1) already exists.']);
      const notices = [];
      client.on('notice', (notice) => notices.push(notice.message));
      await client.query("DO $$ BEGIN RAISE NOTICE 'said'; END $$");
      same(notices, ['said']);
      // Queued all at once: each has its own answer.
      const answers = await Promise.allSettled([1, 0, 2].map((n) => client.query('SELECT 10 / $1::int AS q', [n])));
      same(
        answers.map((a) => a.value?.rows[0].q ?? a.reason.code),
        [10, '22012', 5],
      );
    }),
  'read-your-writes': () =>
    withClient(async (client) => {
      const t = await fresh(client, 'ryw', 'i int, t text');
      for (let i = 0; i < 200; i++) {
        await client.query(`INSERT INTO ${t} VALUES ($1, $2)`, [i, `v${i}`]);
        same(await one(client, `SELECT t FROM ${t} WHERE i = $1`, [i]), `v${i}`);
      }
    }),
  large: () =>
    withClient(async (client) => {
      const { rows } = await client.query("SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i");
      same(rows.length, 10_000);
      same((await one(client, "SELECT repeat('y', 10000000)")).length, 10_000_000);
      same(await one(client, 'SELECT length($1::text)', ['z'.repeat(10_000_000)]), 10_000_000);
    }),
  notify: () =>
    withClient((listener) =>
      withClient(async (sender) => {
        const seen = [];
        listener.on('notification', (message) => seen.push(message.payload));
        await listener.query('LISTEN c_node_postgres_channel');
        await sender.query("SELECT pg_notify('c_node_postgres_channel', $1)", ['one']);
        await sender.query("NOTIFY c_node_postgres_channel, 'two'");
        await until(() => seen.length === 2, 'two notifications');
        same(seen, ['one', 'two']);
      }),
    ),
  cursor: () =>
    withClient(async (client) => {
      const wanted = Array.from({ length: 1000 }, (_, i) => i + 1);
      // Both are portals of the protocol, outside a transaction too.
      const cursor = client.query(new Cursor('SELECT i FROM generate_series(1, $1::int) i', [1000]));
      const got = [];
      for (let rows = await cursor.read(100); rows.length > 0; rows = await cursor.read(100))
        got.push(...rows.map((r) => r.i));
      await cursor.close();
      same(got, wanted);
      const stream = client.query(new QueryStream('SELECT i FROM generate_series(1, 1000) i', [], { batchSize: 7 }));
      const streamed = [];
      for await (const row of stream) streamed.push(row.i);
      same(streamed, wanted);
      const left = client.query(new Cursor('SELECT i FROM generate_series(1, 1000) i'));
      same((await left.read(1))[0].i, 1);
      await left.close();
      same(await one(client, 'SELECT 5'), 5);
    }),
  switchover: goOnDuring('switchover'),
  crash: goOnDuring('crash'),
});
