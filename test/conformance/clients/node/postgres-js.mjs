import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import postgres from 'postgres';
import { allFound, BIG_INT, BYTES, goOn, NUMERIC, refused, run, same, table, TEXT, until, UUID } from './harness.mjs';

async function withSql(work, options = {}) {
  const sql = postgres({ ssl: false, max: 1, onnotice: () => {}, ...options });
  try {
    await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function fresh(sql, name, columns) {
  await sql.unsafe(`DROP TABLE IF EXISTS ${table(name)}`);
  await sql.unsafe(`CREATE TABLE ${table(name)} (${columns})`);
  return table(name);
}

const goOnDuring = (name) => () =>
  withSql(
    async (sql) => {
      const t = await fresh(sql, name, 'i int');
      await sql`SET work_mem = '5MB'`;
      const acknowledged = await goOn(name, (number, inTransaction) =>
        inTransaction
          ? sql.begin((tx) => tx`INSERT INTO ${sql(t)} VALUES (${number})`)
          : sql`INSERT INTO ${sql(t)} VALUES (${number})`,
      );
      const rows = await sql`SELECT i FROM ${sql(t)}`;
      allFound(
        rows.map((row) => row.i),
        acknowledged,
      );
      same((await sql`SHOW work_mem`)[0].work_mem, '5MB', 'setting of the session');
      same((await sql`SHOW application_name`)[0].application_name, 'goes on');
    },
    { connection: { application_name: 'goes on' } },
  );

await run({
  connect: () =>
    withSql(
      async (sql) => {
        same((await sql`SHOW application_name`)[0].application_name, 'conformance');
        same((await sql`SHOW statement_timeout`)[0].statement_timeout, '61s');
      },
      { connection: { application_name: 'conformance', statement_timeout: 61_000 } },
    ),
  types: () =>
    withSql(async (sql) => {
      const columns =
        'i int8, n numeric, t text, b bytea, z timestamptz, a int[], s text[], j json, jb jsonb, u uuid, x text';
      const t = await fresh(sql, 'types', columns);
      const j = { a: [1, 2, { b: null }], ü: '🌍' };
      const z = new Date('2026-02-03T04:05:06.789Z');
      const row = {
        i: BIG_INT,
        n: NUMERIC,
        t: TEXT,
        b: BYTES,
        z,
        s: ['a', 'b c', 'd,"e'],
        a: [1, 2, 3],
        u: UUID,
        x: null,
      };
      await sql`INSERT INTO ${sql(t)} ${sql({ ...row, j: sql.json(j), jb: sql.json(j) })}`;
      same(
        { ...(await sql`SELECT * FROM ${sql(t)}`)[0] },
        { i: BIG_INT, n: NUMERIC, t: TEXT, b: BYTES, z, a: [1, 2, 3], s: row.s, j, jb: j, u: UUID, x: null },
      );
    }),
  transactions: () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'tx', 'i int');
      await sql.begin((tx) => tx`INSERT INTO ${sql(t)} VALUES (1)`);
      await sql
        .begin(async (tx) => {
          await tx`INSERT INTO ${sql(t)} VALUES (2)`;
          throw new Error('back');
        })
        .catch(() => {});
      await sql.begin('isolation level serializable', async (tx) => {
        await tx`INSERT INTO ${sql(t)} VALUES (3)`;
        await tx
          .savepoint(async (inner) => {
            await inner`INSERT INTO ${sql(t)} VALUES (4)`;
            await inner`SELECT 1/0`;
          })
          .catch(() => {});
        await tx`INSERT INTO ${sql(t)} VALUES (5)`;
      });
      same((await sql`SELECT i FROM ${sql(t)} ORDER BY i`.values()).flat(), [1, 3, 5]);
      const both = await sql.begin('read only', (tx) => [
        tx`SELECT 1 AS a`,
        tx`SELECT count(*)::int AS n FROM ${sql(t)}`,
      ]);
      same(
        both.map((rows) => ({ ...rows[0] })),
        [{ a: 1 }, { n: 3 }],
      );
    }),
  prepared: () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'prepared', 'id int primary key, v text');
      for (let i = 0; i < 100; i++) {
        await sql`INSERT INTO ${sql(t)} VALUES (${i}, ${`v${i}`})`;
        same((await sql`SELECT v FROM ${sql(t)} WHERE id = ${i}`)[0].v, `v${i}`);
      }
      await sql`ALTER TABLE ${sql(t)} ADD COLUMN w int DEFAULT 7`;
      for (let i = 0; i < 10; i++) same((await sql`SELECT v FROM ${sql(t)} WHERE id = ${i}`)[0].v, `v${i}`);
      same((await sql`SELECT * FROM ${sql(t)} WHERE id = ${3}`)[0], { id: 3, v: 'v3', w: 7 });
      await withSql(
        async (unprepared) => {
          for (let i = 0; i < 50; i++) same((await unprepared`SELECT ${i}::int AS i`)[0].i, i);
        },
        { prepare: false },
      );
    }),
  pipeline: () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'pipeline', 'i int primary key');
      // The driver sends them behind one another without waiting.
      const all = await Promise.all(
        Array.from({ length: 200 }, (_, i) => sql`INSERT INTO ${sql(t)} VALUES (${i}) RETURNING i`),
      );
      same(
        all.map((rows) => rows[0].i),
        Array.from({ length: 200 }, (_, i) => i),
      );
      const answers = await Promise.allSettled([1, 0, 2, 0, 5].map((n) => sql`SELECT 10 / ${n}::int AS q`));
      same(
        answers.map((a) => a.value?.[0].q ?? a.reason.code),
        [10, '22012', 5, '22012', 2],
      );
      const mixed = await Promise.all([
        sql`SELECT count(*)::int AS n FROM ${sql(t)}`,
        sql`INSERT INTO ${sql(t)} VALUES (1000)`,
        sql`SELECT count(*)::int AS n FROM ${sql(t)}`,
      ]);
      same([mixed[0][0].n, mixed[2][0].n], [200, 201]);
    }),
  copy: () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'copy', 'i int, t text');
      const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\tline ü ${i}\n`);
      await pipeline(Readable.from(lines), await sql`COPY ${sql(t)} FROM STDIN`.writable());
      const out = await sql`COPY (SELECT * FROM ${sql(t)} ORDER BY i) TO STDOUT`.readable();
      const chunks = await out.toArray(); // one may end within a character
      same(Buffer.concat(chunks).toString() === lines.join(''), true, 'what came back');
      same((await sql`SELECT count(*)::int AS n FROM ${sql(t)}`)[0].n, 20_000);
    }),
  cancel: () =>
    withSql(async (sql) => {
      const started = performance.now();
      const query = sql`SELECT pg_sleep(30)`;
      setTimeout(() => query.cancel(), 300);
      await refused(() => query, '57014');
      if (performance.now() - started > 5000) throw new Error('late');
      same((await sql`SELECT 5 AS n`)[0].n, 5);
    }),
  error: () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'error', 'i int primary key');
      await refused(() => sql`SELECT 1/0`, '22012');
      await refused(() => sql`SELECT * FROM no_such_table`, '42P01');
      same((await refused(() => sql`SELEC 1`, '42601')).position, '1');
      await sql`INSERT INTO ${sql(t)} VALUES (1)`;
      same(
        (await refused(() => sql`INSERT INTO ${sql(t)} VALUES (${1})`, '23505')).constraint_name,
        `${table('error')}_pkey`,
      );
      same((await sql`SELECT 5 AS n`)[0].n, 5);
    }),
  'read-your-writes': () =>
    withSql(async (sql) => {
      const t = await fresh(sql, 'ryw', 'i int, t text');
      for (let i = 0; i < 200; i++) {
        await sql`INSERT INTO ${sql(t)} VALUES (${i}, ${`v${i}`})`;
        same((await sql`SELECT t FROM ${sql(t)} WHERE i = ${i}`)[0]?.t, `v${i}`);
      }
    }),
  large: () =>
    withSql(async (sql) => {
      same((await sql`SELECT i, repeat('x', 1000) FROM generate_series(1, 10000) i`).length, 10_000);
      same((await sql`SELECT repeat('y', 10000000) AS y`)[0].y.length, 10_000_000);
      same((await sql`SELECT length(${'z'.repeat(10_000_000)}) AS n`)[0].n, 10_000_000);
    }),
  notify: () =>
    withSql(async (sql) => {
      const seen = [];
      const { unlisten } = await sql.listen('c_postgres_js_channel', (payload) => seen.push(payload));
      await sql.notify('c_postgres_js_channel', 'one');
      await sql`NOTIFY c_postgres_js_channel, 'two'`;
      await until(() => seen.length === 2, 'two notifications');
      same(seen, ['one', 'two']);
      await unlisten();
    }),
  cursor: () =>
    withSql(async (sql) => {
      const got = [];
      for await (const rows of sql`SELECT i FROM generate_series(1, 1000) i`.cursor(100))
        got.push(...rows.map((r) => r.i));
      same(
        got,
        Array.from({ length: 1000 }, (_, i) => i + 1),
      );
      for await (const [row] of sql`SELECT i FROM generate_series(1, 1000) i`.cursor()) {
        if (row.i === 3) break;
      }
      same((await sql`SELECT 5 AS n`)[0].n, 5);
    }),
  switchover: goOnDuring('switchover'),
  crash: goOnDuring('crash'),
});
