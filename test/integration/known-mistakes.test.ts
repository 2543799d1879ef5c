import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Client } from 'pg';
import * as encode from '../../proxy/wire/encode.ts';
import { Clients } from '../support/clients.ts';
import { initialisePgbench, pgbench } from '../support/pgbench.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';
import { bindText, parse } from '../support/steps.ts';

/** What other proxies shipped as bugs, and no test of a single part shows. */
describe('what others got wrong', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = () => clients.connect();

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 2 } } });
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  test('nothing runs twice: whatever way a write takes, it is there once', async () => {
    const client = await connect();
    await client.query('CREATE TABLE runs (way text)');
    const body = 'INSERT INTO runs VALUES (way) RETURNING 1';
    await client.query(`CREATE FUNCTION run(way text) RETURNS int LANGUAGE sql AS '${body}'`);
    // It says that it only reads: a follower refuses it, and then the leader runs it.
    await client.query(`CREATE FUNCTION lying_run(way text) RETURNS int LANGUAGE plpgsql STABLE AS
      $$ BEGIN RETURN run(way); END $$`);
    await client.query(`CREATE PROCEDURE run_too(way text) LANGUAGE sql AS 'INSERT INTO runs VALUES (way)'`);
    await using raw = await RawClient.connect({ port: cluster.port });
    const ways: Readonly<Record<string, (way: string) => Promise<unknown>>> = {
      'a query': (way) => client.query(`INSERT INTO runs VALUES ('${way}')`),
      'a function': (way) => client.query(`SELECT run('${way}')`),
      'with parameters': (way) => client.query('SELECT run($1)', [way]),
      prepared: (way) => client.query({ name: 'runs', text: 'SELECT run($1)', values: [way] }),
      'a function that lies': (way) => client.query('SELECT lying_run($1)', [way]),
      'a follower was asked for': (way) => client.query(`/* leasehold: follower */ SELECT run('${way}')`),
      'a writing CTE': (way) =>
        client.query(`WITH w AS (INSERT INTO runs VALUES ('${way}') RETURNING 1) SELECT * FROM w`),
      'behind a read': (way) => client.query(`SELECT 1; SELECT run('${way}'); SELECT 2`),
      'EXPLAIN ANALYZE': (way) => client.query(`EXPLAIN (ANALYZE) INSERT INTO runs VALUES ('${way}')`),
      EXECUTE: async (way) => {
        await client.query('PREPARE r (text) AS SELECT run($1)');
        await client.query(`EXECUTE r ('${way}')`);
      },
      CALL: (way) => client.query(`CALL run_too('${way}')`),
      DO: (way) => client.query(`DO $$ BEGIN PERFORM run('${way}'); END $$`),
      COPY: (way) => client.query(`COPY (SELECT run('${way}')) TO STDOUT`).catch(() => undefined),
      'a transaction': async (way) => {
        for (const text of ['BEGIN', 'SELECT 1', `SELECT run('${way}')`, 'COMMIT']) await client.query(text);
      },
      'a sequence with a Flush in it': async (way) => {
        raw.send(parse('', 'SELECT run($1)'), bindText('', '', [way]), encode.execute(''), encode.FLUSH);
        await raw.read('C');
        raw.send(parse('', 'SELECT 1'), bindText('', '', []), encode.execute(''), encode.SYNC);
        await raw.read('Z');
      },
      'a sequence that is cut to bytes': async (way) => {
        const bytes = Buffer.concat([
          parse('', 'SELECT run($1)'),
          bindText('', '', [way]),
          encode.execute(''),
          encode.SYNC,
        ]);
        for (const byte of bytes) raw.send(Buffer.from([byte]));
        await raw.read('Z');
      },
    };
    for (const [way, run] of Object.entries(ways)) await run(way);
    const { rows } = await client.query(
      '/* leasehold: leader */ SELECT way, count(*)::int AS n FROM runs GROUP BY way',
    );
    assert.deepEqual(
      Object.fromEntries(rows.map(({ way, n }) => [way, n])),
      Object.fromEntries(Object.keys(ways).map((way) => [way, 1])),
    );
  });

  test('a statement name that several clients use means to each what it prepared, at the same time and one after another', async () => {
    const many = await Promise.all(Array.from({ length: 6 }, () => connect()));
    const named = async (client: Client, text: string): Promise<unknown> =>
      Object.values((await client.query({ name: 'S_1', text })).rows[0])[0];
    const textOf = (i: number): string =>
      i % 3 === 0 ? `SELECT ${i}::int AS v` : `SELECT 'text ${i}' AS v, ${i} AS more`;
    for (let round = 0; round < 4; round++) {
      const heard = await Promise.all(many.map((client, i) => named(client, textOf(i))));
      assert.deepEqual(
        heard,
        many.map((_, i) => (i % 3 === 0 ? i : `text ${i}`)),
      );
    }
    // The next clients find connections that have it from others.
    for (const client of many) await client.end();
    for (let i = 10; i < 16; i++) {
      const client = await connect();
      assert.equal(await named(client, textOf(i)), i % 3 === 0 ? i : `text ${i}`);
      await client.query('DEALLOCATE "S_1"');
      assert.equal(await named(client, textOf(i)).catch(({ code }) => code), '26000');
      await client.end();
    }
  });

  test('pgbench with -M prepared: a script of many statements, and several of them in one (\\;) as by the server itself', async () => {
    await initialisePgbench(cluster.port, 1);
    const script = async (name: string, text: string): Promise<string> => {
      const path = join(cluster.folder, name);
      await writeFile(path, text);
      return path;
    };
    const separate = await script(
      'separate.sql',
      `\\set aid random(1, 100000)
      BEGIN;
      UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
      SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
      INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, 1, now());
      END;
      SELECT count(*) FROM pgbench_branches;`,
    );
    // A thread for each client: pgbench waits for PREPARE with all clients of the thread, also with those that have a transaction open.
    const args = (mode: string, file: string): string[] => [
      '-n',
      '-M',
      mode,
      '-c',
      '4',
      '-j',
      '4',
      '-t',
      '20',
      '-f',
      file,
    ];
    const before = await cluster.sql('node1', 'SELECT count(*) FROM pgbench_history');
    const prepared = await pgbench(cluster.port, args('prepared', separate));
    assert.deepEqual([prepared.processed, prepared.failed, prepared.errors], [80, 0, []], prepared.output);
    const joined = await script(
      'joined.sql',
      'SELECT 1 \\; INSERT INTO pgbench_history (tid) VALUES (2) \\; SELECT 2;\n',
    );
    const simple = await pgbench(cluster.port, args('simple', joined));
    assert.deepEqual([simple.processed, simple.errors], [80, []], simple.output);
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM pgbench_history'), String(Number(before) + 160));
    // One Parse takes one statement: PostgreSQL refuses the others, and so does what it says through the proxy.
    const refused = async (port: number): Promise<string | undefined> =>
      /ERROR: .*/.exec((await pgbench(port, args('prepared', joined))).output)?.[0];
    const direct = await refused(cluster.node('node1').port);
    assert.match(direct ?? '', /cannot insert multiple commands into a prepared statement/);
    assert.equal(await refused(cluster.port), direct);
  });
});
