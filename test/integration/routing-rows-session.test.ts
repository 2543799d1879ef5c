import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { bind, execute, parse, query, SYNC } from '../../proxy/wire/encode.ts';
import { BATCHES } from '../support/batch-scripts.ts';
import { connectTo, nodeOf, until, untilServedBy } from '../support/consistency.ts';
import { playScript } from '../support/play-script.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { findBinDir } from '../support/programs-folder.ts';
import { RawClient } from '../support/raw-client.ts';
import { PINS, type Row, runRow } from '../support/routing-rows.ts';

/** ROUTING.md, "Where a statement goes": its second half, transactions and what stays in a session. */
const read = (name: string, ...steps: string[]): Row => ({
  name: `${name} reads from a follower`,
  steps,
  at: 'follower',
});
const lead = (name: string, ...steps: string[]): Row => ({ name: `${name} runs on the leader`, steps, at: 'leader' });

const ROWS: readonly Row[] = [
  lead('an unmarked transaction', 'BEGIN', 'SELECT 1'),
  lead('a READ WRITE transaction', 'BEGIN READ WRITE', 'SELECT 1'),
  read('a READ ONLY transaction', 'BEGIN READ ONLY', 'SELECT 1'),
  read('START TRANSACTION READ ONLY', 'START TRANSACTION READ ONLY', 'SELECT 1'),
  read('REPEATABLE READ, READ ONLY', 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', 'SELECT 1', 'SELECT 2'),
  lead('SERIALIZABLE, READ ONLY', 'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY', 'SELECT 1'),
  lead(
    'SERIALIZABLE by SET TRANSACTION',
    'BEGIN READ ONLY',
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SELECT 1',
  ),
  lead('SERIALIZABLE by default', "SET default_transaction_isolation = 'serializable'", 'BEGIN READ ONLY', 'SELECT 1'),
  lead('autocommit under SERIALIZABLE by default', "SET default_transaction_isolation = 'serializable'", 'SELECT 1'),
  lead(
    'a read under SET SESSION CHARACTERISTICS … SERIALIZABLE',
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SELECT 1',
  ),
  read('SET TRANSACTION READ ONLY right after BEGIN', 'BEGIN', 'SET TRANSACTION READ ONLY', 'SELECT 1'),
  lead(
    'SET TRANSACTION READ WRITE right after BEGIN READ ONLY',
    'BEGIN READ ONLY',
    'SET TRANSACTION READ WRITE',
    'SELECT 1',
  ),
  lead(
    'SET transaction_read_only = off in a READ ONLY transaction',
    'BEGIN READ ONLY',
    'SET transaction_read_only = off',
    'SELECT 1',
  ),
  lead('SET transaction_read_only = off by itself', 'SET transaction_read_only = off'),
  read(
    'a framework’s BEGIN under SET SESSION CHARACTERISTICS READ ONLY',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    'BEGIN',
    'SELECT 1',
  ),
  read('BEGIN under default_transaction_read_only', 'SET default_transaction_read_only = on', 'BEGIN', 'SELECT 1'),
  lead(
    'BEGIN READ WRITE under default_transaction_read_only',
    'SET default_transaction_read_only = on',
    'BEGIN READ WRITE',
    'INSERT INTO t VALUES (1)',
  ),
  { ...read('a write in a READ ONLY transaction', 'BEGIN READ ONLY', 'INSERT INTO t VALUES (2)'), code: '25006' },
  lead('a read in a transaction that wrote', 'BEGIN', 'INSERT INTO t VALUES (3)', 'SELECT * FROM t'),
  lead('COMMIT AND CHAIN’s next transaction', 'BEGIN', 'SELECT 1', 'COMMIT AND CHAIN', 'SELECT 1'),
  read('COMMIT AND CHAIN’s next READ ONLY transaction', 'BEGIN READ ONLY', 'SELECT 1', 'COMMIT AND CHAIN', 'SELECT 1'),
  lead('a cursor in a transaction', 'BEGIN', 'DECLARE c CURSOR FOR SELECT 1', 'FETCH c'),
  read('a cursor in a READ ONLY transaction', 'BEGIN READ ONLY', 'DECLARE c CURSOR FOR SELECT 1', 'FETCH c'),
  lead('EXECUTE of a prepared write', 'PREPARE p AS INSERT INTO t VALUES (70)', 'EXECUTE p'),
  lead('a read in an encoding whose bytes may look like quotes', "SET client_encoding = 'SJIS'", "SELECT 'x'"),
  read('a read in an encoding whose bytes do not', "SET client_encoding = 'EUC_JP'", "SELECT 'x'"),
  lead(
    'a backslash without standard_conforming_strings',
    'SET standard_conforming_strings = false',
    String.raw`SELECT 'a\\b'`,
  ),
  read(
    'a backslash with standard_conforming_strings',
    'SET standard_conforming_strings = on',
    String.raw`SELECT 'a\\b'`,
  ),
  lead('PREPARE TRANSACTION', 'BEGIN', 'INSERT INTO t VALUES (4)', "PREPARE TRANSACTION 'x'"),
  { ...lead('COMMIT PREPARED', "COMMIT PREPARED 'x'"), effect: ['SELECT count(*) FROM t WHERE i = 4', '1'] },
  { ...lead('ROLLBACK PREPARED', "ROLLBACK PREPARED 'nosuch'"), code: '42704' },
];

describe('transactions and what stays in a session', () => {
  let cluster: ProxyCluster;
  let console: Client;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, settings: ['max_prepared_transactions=5'] });
    await cluster.sql('node1', 'CREATE TABLE t (i int); ALTER TABLE t OWNER TO app; GRANT ALL ON SCHEMA public TO app');
    console = await connectTo(cluster.port, { database: 'leasehold' });
  });
  after(async () => {
    await console?.end();
    await cluster?.[Symbol.asyncDispose]();
  });

  async function pinsOf(client: Client): Promise<string> {
    const { processID } = client as unknown as { processID: number };
    const { rows } = await console.query('SHOW CLIENTS');
    return rows.find((row) => row.id === String(processID))?.pins as string;
  }

  for (const { name, steps, at, code, effect } of ROWS) {
    test(name, async () => {
      const served = await runRow(cluster, steps);
      assert.deepEqual({ at: served.at, code: served.code }, { at, code });
      await served.client.query('ROLLBACK');
      if (effect !== undefined) assert.equal(await cluster.sql('node1', effect[0]), effect[1]);
      await served.client.end();
    });
  }

  for (const [name, steps, pin, ends] of PINS) {
    test(`${name} ${pin === '' ? 'that fails pins nothing' : `pins the session, until ${ends}`}`, async () => {
      const client = await connectTo(cluster.port);
      for (const step of steps) await client.query(step).catch(() => undefined);
      assert.equal(await pinsOf(client), pin);
      if (pin !== '') {
        await client.query('SELECT 1');
        assert.equal(await nodeOf(client), 'node1');
      }
      if (ends !== null) {
        await client.query(ends);
        await until(async () => (await pinsOf(client)) === '', `${ends} unpins`);
        await untilServedBy(client, 'SELECT 1', (node) => node === 'node2');
      }
      await client.end();
    });
  }

  test('a failed pg_try_advisory_lock pins only until the server was asked, and stacked locks until the last is gone', async () => {
    const holder = await connectTo(cluster.port);
    const client = await connectTo(cluster.port);
    await holder.query('SELECT pg_advisory_lock(7)');
    assert.equal((await client.query('SELECT pg_try_advisory_lock(7) AS got')).rows[0].got, false);
    await until(async () => (await pinsOf(client)) === '', 'a lock that was not got does not pin');
    await client.query('SELECT pg_advisory_lock(8), pg_advisory_lock(8)');
    await client.query('SELECT pg_advisory_unlock(8)');
    assert.equal(await pinsOf(client), 'advisory-lock');
    await client.query('SELECT pg_advisory_unlock(8)');
    await until(async () => (await pinsOf(client)) === '', 'the last lock is gone');
    await Promise.all([holder.end(), client.end()]);
    await until(
      async () => (await cluster.sql('node1', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) === '0',
      'a client that leaves takes its lock along',
    );
  });

  test('what SQL prepared is executed, and is gone after DEALLOCATE', async () => {
    const client = await connectTo(cluster.port);
    await client.query('PREPARE p AS SELECT 7 AS n');
    assert.equal((await client.query('EXECUTE p')).rows[0].n, 7);
    await client.query('DEALLOCATE p');
    await assert.rejects(client.query('EXECUTE p'), { code: '26000' });
    await client.end();
  });

  test('the server that had temporary objects is not given to anybody else', async () => {
    const client = await connectTo(cluster.port);
    await client.query('CREATE TEMPORARY TABLE private (i int)');
    const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid as number;
    await client.end();
    const gone = `SELECT count(*) FROM pg_stat_activity WHERE pid = ${pid}`;
    await until(async () => (await cluster.sql('node1', gone)) === '0', 'the connection is closed');
  });

  test('encodings and strings are read as the role’s defaults on the server say', async () => {
    await cluster.sql(
      'node1',
      "CREATE ROLE odd LOGIN PASSWORD 'odd'; ALTER ROLE odd SET standard_conforming_strings = off",
    );
    let client: Client | null = null;
    await until(async () => {
      client = await connectTo(cluster.port, { user: 'odd', password: 'odd' }).catch(() => null);
      return client !== null;
    }, 'the role is there');
    const odd = client as unknown as Client;
    await untilServedBy(odd, 'SELECT 1', (node) => node === 'node2');
    await odd.query(String.raw`SELECT 'it\'s' AS x`);
    assert.equal(await nodeOf(odd), 'node1');
    await odd.end();
  });

  test('BEGIN is answered by the proxy and sent with the first statement', async () => {
    const client = await connectTo(cluster.port);
    await client.query('BEGIN');
    const open = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in transaction%'";
    assert.equal(await cluster.sql('node1', open), '0');
    await client.query('INSERT INTO t VALUES (5)');
    assert.equal(await cluster.sql('node1', open), '1');
    await client.query('ROLLBACK');
    await client.end();
  });

  test('SAVEPOINT, ROLLBACK TO and RELEASE work where the transaction is', async () => {
    const client = await connectTo(cluster.port);
    for (const sql of [
      'BEGIN',
      'INSERT INTO t VALUES (50)',
      'SAVEPOINT s',
      'INSERT INTO t VALUES (51)',
      'ROLLBACK TO s',
    ]) {
      await client.query(sql);
    }
    await client.query('RELEASE s');
    await client.query('COMMIT');
    assert.equal(await cluster.sql('node1', "SELECT string_agg(i::text, ',') FROM t WHERE i IN (50, 51)"), '50');
    await client.end();
  });

  test('SET is undone by ROLLBACK and ROLLBACK TO, and applied to whichever server is next', async () => {
    const client = await connectTo(cluster.port);
    const setting = async (where: string): Promise<string> =>
      (await client.query(`/* leasehold: ${where} */ SELECT current_setting('app.x', true) AS x`)).rows[0].x as string;
    await client.query("SET app.x = 'kept'");
    await client.query('BEGIN');
    await client.query("SET app.x = 'gone'");
    await client.query('SAVEPOINT s');
    await client.query("SET LOCAL app.x = 'local'");
    await client.query('ROLLBACK TO s');
    assert.equal(await setting('leader'), 'gone');
    await client.query('ROLLBACK');
    assert.deepEqual([await setting('leader'), await setting('follower')], ['kept', 'kept']);
    await client.end();
  });

  test('Parse to Sync is one unit on one node: the strongest of its statements decides', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    const node = async (): Promise<string> => {
      raw.send(query('SHOW leasehold.node'));
      return (await raw.read('Z')).find((each) => each.startsWith('D')) ?? '';
    };
    const one = (sql: string): Buffer[] => [parse('', Buffer.from(sql)), bind('', ''), execute('')];
    raw.send(...one('SELECT 1'), ...one('SELECT 2'), SYNC);
    await raw.read('Z');
    assert.match(await node(), /node2/);
    raw.send(...one('SELECT 1'), ...one('INSERT INTO t VALUES (60)'), ...one('SELECT 2'), SYNC);
    assert.equal((await raw.read('Z')).filter((each) => each.startsWith('C')).length, 3);
    assert.match(await node(), /node1/);
  });

  test('a simple Query in the middle of an unsynced sequence follows the unit', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    raw.send(parse('', Buffer.from('INSERT INTO t VALUES (61)')), bind('', ''), execute(''), query('SELECT 1'));
    assert.deepEqual(
      (await raw.read('Z')).map((each) => each[0]),
      ['1', '2', 'C', 'T', 'D', 'C', 'Z'],
    );
    raw.send(query('SHOW leasehold.node'));
    assert.ok((await raw.read('Z')).some((each) => each.includes('node1')));
  });

  for (const [name, steps] of Object.entries(BATCHES)) {
    test(`${name}: as from the server itself`, async () => {
      const direct = await playScript(cluster.node('node1').port, steps);
      assert.deepEqual(await playScript(cluster.port, steps), direct);
    });
  }

  test('pg_dump through the proxy gives what it gives directly, and what it gives restores to the same', async () => {
    await cluster.sql('node1', 'CREATE DATABASE copy OWNER app', 'postgres');
    await cluster.sql(
      'node1',
      `CREATE SEQUENCE seq START 7; CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE full_ (id int PRIMARY KEY DEFAULT nextval('seq'), m mood, v text);
      INSERT INTO full_ (m, v) SELECT 'a', E'x\\ty\\n' || i FROM generate_series(1, 500) i; CREATE VIEW over AS SELECT * FROM full_; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
      ALTER TABLE full_ OWNER TO app; ALTER SEQUENCE seq OWNER TO app; ALTER VIEW over OWNER TO app; ALTER FUNCTION f() OWNER TO app; ALTER TYPE mood OWNER TO app`,
    );
    const binDir = await findBinDir();
    const dump = async (port: number, database: string): Promise<string> => {
      const { stdout } = await promisify(execFile)(join(binDir, 'pg_dump'), ['-d', database], {
        env: { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'app', PGPASSWORD: 'app' },
        maxBuffer: 1e8,
      });
      return stdout.replace(/^\\(?:un)?restrict .*$/gm, ''); // a key that is drawn for each dump
    };
    const direct = await dump(cluster.node('node1').port, 'app');
    const proxied = await dump(cluster.port, 'app');
    assert.equal(proxied, direct);
    assert.match(proxied, /CREATE TABLE public\.full_/);
    const restoring = promisify(execFile)('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', '-'], {
      env: { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(cluster.port), PGUSER: 'app', PGPASSWORD: 'app' },
    });
    restoring.child.stdin?.end(proxied);
    await restoring;
    assert.equal(await dump(cluster.node('node1').port, 'copy'), direct);
  });
});
