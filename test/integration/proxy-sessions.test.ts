import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import * as encode from '../../proxy/wire/encode.ts';
import { findBinDir } from '../support/programs-folder.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';

const run = promisify(execFile);

describe('sessions on real servers', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 2 });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON public.t TO app; INSERT INTO t VALUES (1)');
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect(): Promise<Client> {
    const client = new Client({ connectionString: cluster.url });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Statements by role, and what was run again by reason. */
  async function counters(): Promise<Record<string, number>> {
    const text = await (await fetch(`${cluster.proxy?.httpUrl}/metrics`)).text();
    const totals: Record<string, number> = {};
    const lines = text.matchAll(/leasehold_(?:statements|retries)_total\{.*(?:role|reason)="([\w-]+)".*\} (\d+)/g);
    for (const [, name, count] of lines) totals[name as string] = (totals[name as string] ?? 0) + Number(count);
    return totals;
  }

  async function counted(work: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await counters();
    await work();
    const now = await counters();
    const grown = Object.keys(now).filter((name) => now[name] !== (before[name] ?? 0));
    return Object.fromEntries(grown.map((name) => [name, (now[name] ?? 0) - (before[name] ?? 0)]));
  }

  async function settled(): Promise<void> {
    const position = await cluster.sql('node1', 'SELECT pg_current_wal_lsn()');
    for (const node of ['node2', 'node3']) {
      while ((await cluster.sql(node, `SELECT pg_last_wal_replay_lsn() >= '${position}'`)) !== 't') await sleep(20);
    }
    await sleep(300);
  }

  test('a read that a follower refuses as a write runs once on the leader, and is learned', async () => {
    const client = await connect();
    await client.query(`CREATE FUNCTION writes(n int) RETURNS int VOLATILE LANGUAGE sql AS
      'INSERT INTO t VALUES (n) RETURNING n'`);
    await client.query(`CREATE FUNCTION sly(n int) RETURNS int STABLE LANGUAGE plpgsql AS
      $$ BEGIN RETURN (SELECT writes(n)); END $$`);
    await settled();
    await sleep(500); // until the catalog knows them
    const reader = await connect();
    const call = (n: number) => () => reader.query('SELECT sly($1)', [n]);
    assert.deepEqual(await counted(call(501)), { follower: 1, leader: 1, 'learned-write': 1 });
    assert.deepEqual(await counted(call(502)), { leader: 1 });
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t WHERE i > 500'), '2');
    await client.end();
    await reader.end();
  });

  test('a read that replay cancels runs again elsewhere, and its client does not notice', async () => {
    for (const node of ['node2', 'node3']) {
      await cluster.sql(node, 'ALTER SYSTEM SET max_standby_streaming_delay = 0');
      await cluster.sql(node, 'SELECT pg_reload_conf()');
    }
    await cluster.sql('node1', 'CREATE TABLE public.c AS SELECT 7 AS seven; GRANT ALL ON public.c TO app');
    await settled();
    for (const text of ['SELECT seven, pg_sleep(1.5) FROM c', 'SELECT $1::int AS seven, pg_sleep(1.5) FROM c']) {
      const reader = await connect();
      const grown = await counted(async () => {
        const reading = reader.query(text, text.includes('$1') ? [7] : []);
        await sleep(500);
        await cluster.sql('node1', 'BEGIN; LOCK TABLE c IN ACCESS EXCLUSIVE MODE; COMMIT');
        assert.equal((await reading).rows[0].seven, 7);
      });
      // The other follower may have replayed the lock a little later, and cancelled it there too.
      assert.ok([1, 2].includes(grown['recovery-conflict'] ?? 0), JSON.stringify(grown));
      await reader.end();
    }
  });

  test('BEGIN alone by the extended protocol waits for its first statement as a simple one does', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    const extended = (text: string): Buffer[] => [
      encode.parse('', Buffer.from(text)),
      encode.bind('', ''),
      encode.describe('P', ''),
      encode.execute(''),
      encode.SYNC,
    ];
    const ask = async (text: string): Promise<readonly string[]> => {
      raw.send(...extended(text));
      return await raw.read('Z');
    };
    const begun = ['1|""', '2|""', 'n|""', 'C|"BEGIN\\u0000"', 'Z|"T"'];
    const role = async (begin: string): Promise<Record<string, number>> =>
      await counted(async () => {
        assert.deepEqual(await ask(begin), begun);
        assert.equal((await ask('SELECT 1')).at(-1), 'Z|"T"');
        assert.deepEqual((await ask('COMMIT')).slice(-2), ['C|"COMMIT\\u0000"', 'Z|"I"']);
      });
    await settled();
    assert.deepEqual(await role('BEGIN READ ONLY'), { follower: 2 });
    assert.deepEqual(await role('BEGIN'), { leader: 2 });
    const nothing = await counted(async () => {
      assert.deepEqual(await ask('BEGIN'), begun);
      assert.deepEqual(await ask('ROLLBACK'), ['1|""', '2|""', 'n|""', 'C|"ROLLBACK\\u0000"', 'Z|"I"']);
    });
    assert.deepEqual(nothing, {});
    // In one batch with the first statement, as JDBC sends it.
    await settled();
    const batch = await counted(async () => {
      raw.send(...extended('BEGIN READ ONLY').slice(0, -1), ...extended('SELECT 1'));
      assert.equal((await raw.read('Z')).at(-1), 'Z|"T"');
      await ask('COMMIT');
    });
    assert.deepEqual(batch, { follower: 2 });
  });

  test('replication connections reach the leader one to one', async () => {
    const at = ['-h', '127.0.0.1', '-p', String(cluster.port), '-U', 'postgres'];
    const env = { ...process.env, PGPASSWORD: 'postgres' };
    const connection = `host=127.0.0.1 port=${cluster.port} user=postgres dbname=app replication=database`;
    const { stdout } = await run('psql', ['-XAt', '-d', connection, '-c', 'IDENTIFY_SYSTEM'], { env });
    assert.equal(stdout.split('|')[0], await cluster.sql('node1', 'SELECT system_identifier FROM pg_control_system()'));
    assert.equal(stdout.trim().split('|')[3], 'app');
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-copy-'));
    try {
      const copy = join(folder, 'copy');
      const args = [...at, '-D', copy, '-X', 'stream', '-c', 'fast', '--no-sync'];
      await run(join(await findBinDir(), 'pg_basebackup'), args, { env });
      const version = (await readFile(join(copy, 'PG_VERSION'), 'utf8')).trim();
      assert.equal(version, await cluster.sql('node1', "SELECT current_setting('server_version_num')::int / 10000"));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('RESET ALL returns to what the client connected with; DISCARD ALL ends everything kept, and the pin', async () => {
    const client = new Client({ connectionString: cluster.url, options: '-c app.tenant=start' });
    await client.connect();
    const tenant = async (): Promise<string> =>
      (await client.query("SELECT current_setting('app.tenant') AS tenant")).rows[0].tenant;
    await client.query("SET app.tenant = 'mine'");
    assert.equal(await tenant(), 'mine');
    await client.query('RESET ALL');
    assert.equal(await tenant(), 'start');
    await client.query("SET app.tenant = 'again'; CREATE TEMPORARY TABLE temp (i int)");
    await client.query('INSERT INTO temp VALUES (1)');
    await client.query('SELECT pg_advisory_lock(7)');
    await client.query({ name: 'kept', text: 'SELECT count(*)::int AS n FROM temp' });
    await client.query('DISCARD ALL');
    assert.equal(await tenant(), 'start');
    await assert.rejects(client.query('SELECT * FROM temp'), { code: '42P01' });
    await settled();
    assert.deepEqual(await counted(() => client.query('SELECT 1')), { follower: 1 }); // not pinned any more
    assert.equal(await cluster.sql('node1', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0');
    await client.end();
  });

  test('EXPLAIN (ROUTE) tells where a statement would go, and runs nothing', async () => {
    const client = await connect();
    await settled();
    const explain = async (text: string): Promise<string[]> =>
      (await client.query(`EXPLAIN (ROUTE) ${text}`)).rows.map(({ ROUTE }) => ROUTE as string);
    const read = await explain('SELECT * FROM t');
    assert.match(read[0] ?? '', /^Route: follower node[23]$/);
    assert.equal(read[1], 'Class: read');
    assert.equal(read[2], 'Reason: it only reads, and calls nothing that may write');
    assert.equal(read[3], 'Consistency: session, max staleness 30000 ms, causal wait 50 ms');
    assert.match(read[4] ?? '', /^Floor: last commit (?:never|\d+ ms ago), last read /);
    assert.match(read[5] ?? '', /^Follower node[23]: eligible; fresh as of \d+ ms ago, \d+ in flight$/);
    const write = await explain("INSERT INTO t VALUES (70); -- 'x'");
    assert.equal(write[0], 'Route: leader node1 (term 1)');
    assert.equal((await client.query('SELECT count(*)::int AS n FROM t WHERE i = 70')).rows[0].n, 0);
    await client.query('BEGIN');
    await client.query('SELECT 1');
    assert.equal((await explain('SELECT 1'))[0], 'Route: leader node1 (the open transaction is there)');
    await client.query('ROLLBACK');
    await client.end();
  });

  for (const [name, statements] of [
    ['in a transaction', ['BEGIN', 'LOCK TABLE t IN ACCESS EXCLUSIVE MODE']],
    ['with an advisory lock and a listener', ['SELECT pg_advisory_lock(9)', 'LISTEN news']],
  ] as const) {
    test(`a client that vanishes ${name} takes its server connection with it`, async () => {
      const client = await connect();
      for (const statement of statements) await client.query(statement);
      const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
      const alive = `SELECT count(*) FROM pg_stat_activity WHERE pid = ${rows[0].pid}`;
      assert.equal(await cluster.sql('node1', alive), '1');
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      for (let i = 0; (await cluster.sql('node1', alive)) !== '0'; i++) {
        assert.ok(i < 100, 'it is still there');
        await sleep(20);
      }
      assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t WHERE i = 1'), '1');
    });
  }
});
