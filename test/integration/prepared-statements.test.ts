import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import * as encode from '../../proxy/wire/encode.ts';
import { Clients } from '../support/clients.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';
import { bindText, message, parse } from '../support/steps.ts';

/** What a script on one connection cannot show: sessions that share servers, and servers that change under a session. */
describe('prepared statements are virtual for each session', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = () => clients.connect();

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 2, maxPreparedStatements: 10 } } });
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  const one = async (client: Client, text: string): Promise<unknown> =>
    Object.values((await client.query(text)).rows[0] as object)[0];

  async function pinsOf(client: { processID: number }): Promise<string | null | undefined> {
    const console = new Client({ connectionString: cluster.url.replace(/app$/, 'leasehold') });
    await console.connect();
    const { rows } = await console.query('SHOW CLIENTS');
    await console.end();
    return rows.find(({ id }) => Number(id) === client.processID)?.pins;
  }

  test('PREPARE does not pin, and works on whichever server is there for EXECUTE', async () => {
    const client = await connect();
    await client.query('PREPARE p (int) AS SELECT $1 + 1, pg_is_in_recovery()');
    assert.equal(await pinsOf(client), '');
    const [first, second] = [await connect(), await connect()];
    // Both leader connections are taken in turn, and the client finds its statement on what is left.
    for (const busy of [first, second]) {
      await busy.query('BEGIN');
      await busy.query('SELECT 1');
      assert.equal(await one(client, 'EXECUTE p (41)'), 42);
      await busy.query('COMMIT');
    }
    await client.query('BEGIN');
    assert.equal(await one(client, 'EXECUTE p (1)'), 2);
    await client.query('COMMIT');
  });

  test('EXECUTE goes where the prepared text would go', async () => {
    const client = await connect();
    await client.query('CREATE TABLE w (i int)');
    await client.query('PREPARE ins (int) AS INSERT INTO w VALUES ($1)');
    await client.query('PREPARE node AS SELECT current_setting($$cluster_name$$), count(*)::int AS n FROM w');
    for (let i = 1; i <= 3; i++) {
      await client.query(`EXECUTE ins (${i})`);
      assert.equal((await client.query('EXECUTE node')).rows[0].n, i); // never stale
    }
    const explained = await client.query('EXPLAIN (ROUTE) EXECUTE node');
    assert.match(explained.rows[0].ROUTE, /^Route: /);
  });

  test('names of one client mean nothing to another', async () => {
    const [a, b] = [await connect(), await connect()];
    await a.query("PREPARE mine AS SELECT 'a'");
    await assert.rejects(b.query('EXECUTE mine'), { code: '26000' });
    await b.query("PREPARE mine AS SELECT 'b'");
    for (let i = 0; i < 3; i++)
      assert.deepEqual([await one(a, 'EXECUTE mine'), await one(b, 'EXECUTE mine')], ['a', 'b']);
    await a.query('DEALLOCATE mine');
    await assert.rejects(a.query('EXECUTE mine'), { code: '26000' });
    assert.equal(await one(b, 'EXECUTE mine'), 'b');
    await a.query('DEALLOCATE ALL');
    assert.equal(await one(b, 'EXECUTE mine'), 'b');
  });

  test('a PREPARE in a text that failed stays with its session, and does not leak to others', async () => {
    const [a, b] = [await connect(), await connect()];
    await assert.rejects(a.query('PREPARE half AS SELECT 7; SELECT 1/0'), { code: '22012' });
    await b.query('BEGIN');
    await assert.rejects(b.query('EXECUTE half'), { code: '26000' });
    await b.query('ROLLBACK');
    await b.query('PREPARE half AS SELECT 8');
    assert.equal(await one(a, 'EXECUTE half'), 7);
    assert.equal(await one(b, 'EXECUTE half'), 8);
  });

  test('under another search path the same text is another statement', async () => {
    const [a, b] = [await connect(), await connect()];
    await a.query('CREATE SCHEMA IF NOT EXISTS s1; CREATE TABLE s1.same AS SELECT 1 AS v');
    await a.query("CREATE SCHEMA IF NOT EXISTS s2; CREATE TABLE s2.same AS SELECT 'two'::text AS v, 2 AS more");
    await a.query('SET search_path = s1');
    await b.query('SET search_path = s2');
    for (let i = 0; i < 3; i++) {
      for (const [client, v] of [
        [a, 1],
        [b, 'two'],
      ] as const) {
        const { rows } = await client.query({ name: 'same', text: 'SELECT * FROM same' });
        assert.equal(rows[0].v, v);
      }
    }
    await a.query('PREPARE same_sql AS SELECT * FROM same');
    await b.query('PREPARE same_sql AS SELECT * FROM same');
    for (let i = 0; i < 3; i++) {
      assert.equal(await one(a, 'EXECUTE same_sql'), 1);
      assert.equal(await one(b, 'EXECUTE same_sql'), 'two');
    }
  });

  test('under other settings a constant in the same text is another one, and that of a moment is nobody else’s', async () => {
    const [a, b] = [await connect(), await connect()];
    await a.query("SET timezone = 'UTC'");
    await b.query("SET timezone = 'Asia/Tokyo'");
    const text = "/* leasehold: leader */ SELECT extract(epoch FROM '2020-02-03 00:00'::timestamptz)::int AS v";
    const made = async (client: Client): Promise<number> => (await client.query({ name: 'constant', text })).rows[0].v;
    assert.equal((await made(a)) - (await made(b)), 9 * 3600);
    await a.query("PREPARE constant_sql AS SELECT '2020-02-03 00:00'::timestamptz::text");
    await b.query("PREPARE constant_sql AS SELECT '2020-02-03 00:00'::timestamptz::text");
    // On the leader both come to the same server connection, each after the other one has been there.
    for (const executed of ['EXECUTE constant_sql', '/* leasehold: leader */ EXECUTE constant_sql']) {
      for (let i = 0; i < 3; i++) {
        assert.equal(await one(a, executed), '2020-02-03 00:00:00+00');
        assert.equal(await one(b, executed), '2020-02-03 00:00:00+09');
      }
    }
    const now = { name: 'moment', text: "/* leasehold: leader */ SELECT 'now'::timestamptz::text AS v" };
    const first = (await (await connect()).query(now)).rows[0].v;
    assert.notEqual((await (await connect()).query(now)).rows[0].v, first);
  });

  test('a PREPARE in another encoding than UTF-8', async () => {
    await using raw = await RawClient.connect({ port: cluster.port }, [['client_encoding', 'LATIN1']]);
    for (const text of ["PREPARE latin AS SELECT length('\u00e9')", 'EXECUTE latin', 'EXECUTE latin; SELECT 1']) {
      raw.send(message('Q', Buffer.from(`${text}\0`, 'latin1')));
      const heard = await raw.read('Z');
      assert.ok(!heard.some((line) => line.startsWith('E')), heard.join('\n'));
      if (text.startsWith('EXECUTE'))
        assert.ok(heard.includes('D|"\\u0000\\u0001\\u0000\\u0000\\u0000\\u00011"'), heard.join('\n'));
    }
  });

  test('servers keep no more than proxy.pool.maxPreparedStatements, and the client does not notice', async () => {
    const client = await connect();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 25; i++) {
        if (round === 0) await client.query(`PREPARE many${i} AS SELECT ${i}`);
        assert.equal(await one(client, `EXECUTE many${i}`), i);
        const { rows } = await client.query({ name: `protocol${i}`, text: `SELECT ${i}::int AS v` });
        assert.equal(rows[0].v, i);
      }
    }
    const kept = await cluster.sql('node1', 'SELECT 1');
    assert.equal(kept, '1');
    await client.query('BEGIN');
    const { rows } = await client.query('SELECT count(*)::int AS n FROM pg_prepared_statements');
    assert.equal(rows[0].n, 50); // its own: those are what it is shown
    await client.query('COMMIT');
  });

  test('an EXECUTE whose statement cannot be made any more fails with the reason, and the session goes on', async () => {
    const client = await connect();
    await client.query('CREATE TABLE gone (i int)');
    await client.query('PREPARE g AS SELECT * FROM gone');
    await client.query('DROP TABLE gone');
    await assert.rejects(client.query('EXECUTE g'), { code: '42P01' });
    await client.query('BEGIN');
    await assert.rejects(client.query('EXECUTE g'), { code: '42P01' });
    await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
    await client.query('ROLLBACK');
    assert.equal(await one(client, 'SELECT 1'), 1);
    await client.query('CREATE TABLE gone (i int)');
    await client.query('INSERT INTO gone VALUES (5)');
    assert.equal(await one(client, 'EXECUTE g'), 5);
  });

  test('pg_prepared_statements leaves out what cannot be made on its server, and spoils no transaction by it', async () => {
    const client = await connect();
    await client.query('CREATE TABLE lost (i int)');
    await client.query('PREPARE l1 AS SELECT * FROM lost');
    await client.query('PREPARE l2 AS SELECT 2');
    const names = async (): Promise<string[]> =>
      (await client.query('SELECT name FROM pg_prepared_statements ORDER BY name')).rows.map(({ name }) => name);
    assert.deepEqual(await names(), ['l1', 'l2']);
    await client.query('DROP TABLE lost');
    await cluster.sql(
      'node1',
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle'",
    );
    await client.query('BEGIN');
    await client.query('SELECT 1');
    assert.deepEqual(await names(), ['l2']);
    assert.equal(await one(client, 'EXECUTE l2'), 2);
    await client.query('COMMIT');
  });

  test('a statement of the protocol that SQL deallocates, as psycopg does', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    for (let i = 0; i < 3; i++) {
      raw.send(parse('_pg3_0', 'SELECT $1::int'), bindText('', '_pg3_0', ['5']), encode.execute(''), encode.SYNC);
      assert.deepEqual(
        (await raw.read('Z')).map((each) => each[0]),
        ['1', '2', 'D', 'C', 'Z'],
      );
      raw.send(encode.query('DEALLOCATE "_pg3_0"'));
      assert.deepEqual(await raw.read('Z'), ['C|"DEALLOCATE\\u0000"', 'Z|"I"']);
    }
    raw.send(encode.query('DEALLOCATE "_pg3_0"'));
    assert.equal((await raw.read('Z'))[0], 'E|ERROR|26000|prepared statement "_pg3_0" does not exist||');
  });

  test('a statement that is prepared after DDL does not meet the plan from before it', async () => {
    const named = (client: Client) =>
      client.query({ name: 'shape', text: '/* leasehold: leader */ SELECT * FROM shape' });
    const before = await connect();
    await before.query('CREATE TABLE shape (a int)');
    await named(before);
    await before.query('ALTER TABLE shape ADD COLUMN b int');
    const next = await connect();
    assert.equal((await named(next)).fields.length, 2);
    // As PostgreSQL has it: who prepared before is told of the change.
    await assert.rejects(named(before), { code: '0A000' });
    await next.query('BEGIN');
    await next.query('ALTER TABLE shape ADD COLUMN c int');
    const inside = { name: 'inside', text: '/* leasehold: leader */ SELECT * FROM shape' };
    assert.equal((await next.query(inside)).fields.length, 3);
    await next.query('COMMIT');
  });

  test('after DDL that the proxy did not see, what is prepared then works at once, in one pipeline or in two', async () => {
    const named = (client: Client) =>
      client.query({ name: 'unseen', text: '/* leasehold: leader */ SELECT * FROM unseen' });
    const before = await connect();
    await before.query('CREATE TABLE unseen (a int)');
    await named(before);
    await cluster.sql('node1', 'ALTER TABLE unseen ADD COLUMN b int');
    const next = await connect();
    assert.equal((await named(next)).fields.length, 2);
    assert.equal((await named(await connect())).fields.length, 2);
    // Who had prepared before is told, as PostgreSQL has it.
    await assert.rejects(named(before), { code: '0A000' });
    await cluster.sql('node1', 'ALTER TABLE unseen ADD COLUMN c int');
    await using raw = await RawClient.connect({ port: cluster.port });
    raw.send(parse('mine', '/* leasehold: leader */ SELECT * FROM unseen'), encode.SYNC);
    assert.deepEqual(await raw.read('Z'), ['1|""', 'Z|"I"']);
    raw.send(encode.bind('', 'mine'), encode.describe('P', ''), encode.execute(''), encode.SYNC);
    assert.deepEqual(
      (await raw.read('Z')).map((each) => each[0]),
      ['2', 'T', 'C', 'Z'],
    );
  });

  test('who was told of other columns is refused with 0A000 where the statement is made anew, as by the server that has it', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    const ask = async (...messages: Buffer[]): Promise<string[]> => {
      raw.send(...messages, encode.SYNC);
      return await raw.read('Z');
    };
    const letters = (answers: readonly string[]): string => answers.map((each) => each[0]).join('');
    await ask(parse('', 'CREATE TABLE told (a int)'), encode.bind('', ''), encode.execute(''));
    const text = 'INSERT INTO told VALUES (1) RETURNING *';
    assert.equal(letters(await ask(parse('told', text), encode.describe('S', 'told'))), '1tTZ');
    assert.equal(letters(await ask(encode.bind('', 'told'), encode.execute(''))), '2DCZ');
    const altering = await connect();
    await altering.query('ALTER TABLE told ADD COLUMN b int');
    // The connections that have it are taken, or lose it: it has to be made anew.
    await altering.query('BEGIN');
    await altering.query('SELECT 1');
    await cluster.sql(
      'node1',
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle'",
    );
    const refused = await ask(encode.bind('', 'told'), encode.execute(''));
    assert.equal(letters(refused), 'EZ');
    assert.match(refused[0] ?? '', /0A000\|cached plan must not change result type\|.*\|RevalidateCachedQuery$/);
    await altering.query('COMMIT');
    assert.equal(await one(altering, 'SELECT count(*)::int FROM told'), 1); // not executed
    assert.equal(
      letters(
        await ask(parse('again', text), encode.describe('S', 'again'), encode.bind('', 'again'), encode.execute('')),
      ),
      '1tT2DCZ',
    );
  });
});
