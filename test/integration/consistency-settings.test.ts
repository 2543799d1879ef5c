import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { type Client, DatabaseError } from 'pg';
import { bind, close, describe as describeMessage, execute, FLUSH, parse, SYNC } from '../../proxy/wire/encode.ts';
import {
  connectTo,
  nodeOf,
  pauseReplay,
  resumeReplay,
  show,
  startProxy,
  until,
  untilServedBy,
} from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';

const LEVEL = 'leasehold.consistency';

describe('the proxy’s own settings behave like PostgreSQL’s', () => {
  let cluster: ProxyCluster;
  let client: Client;
  before(async () => {
    cluster = await ProxyCluster.start({
      followers: 1,
      proxy: {
        databases: { app: { maxStalenessMs: 20_000 } },
        users: { strict: { consistency: 'strong' } },
      },
    });
    await cluster.sql('node1', "CREATE ROLE strict LOGIN PASSWORD 'strict'");
  });
  after(() => cluster?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    client = await connectTo(cluster.port);
  });
  afterEach(() => client.end());

  const read = async (sql = 'SELECT 1'): Promise<string> => {
    await client.query(sql);
    return await nodeOf(client);
  };
  const code = async (sql: string): Promise<string> => {
    const error = await client.query(sql).then(
      () => null,
      (reason: unknown) => reason,
    );
    return error instanceof DatabaseError ? (error.code ?? '') : 'no error';
  };

  test('SET is undone by ROLLBACK and by ROLLBACK TO, SET LOCAL by COMMIT', async () => {
    for (const first of ['', 'SELECT 1']) {
      await client.query('BEGIN');
      if (first !== '') await client.query(first);
      await client.query(`SET ${LEVEL} = 'strong'`);
      assert.equal(await show(client, LEVEL), 'strong');
      await client.query('ROLLBACK');
      assert.equal(await show(client, LEVEL), 'session');

      await client.query('BEGIN');
      await client.query(`SET LOCAL ${LEVEL} TO eventual`);
      if (first !== '') await client.query(first);
      await client.query('SAVEPOINT s');
      await client.query(`SET ${LEVEL} = database`);
      await client.query('ROLLBACK TO s');
      assert.equal(await show(client, LEVEL), 'eventual');
      await client.query('COMMIT');
      assert.equal(await show(client, LEVEL), 'session');

      await client.query('BEGIN');
      await client.query(`SET ${LEVEL} = 'database'`);
      if (first !== '') await client.query(first);
      await client.query('COMMIT');
      assert.equal(await show(client, LEVEL), 'database');
      await client.query('RESET ALL');
      assert.equal(await show(client, LEVEL), 'session');
    }
  });

  test('an invalid value fails the transaction that it is in, open or not yet begun', async () => {
    for (const first of [null, 'SELECT 1']) {
      await client.query('BEGIN');
      if (first !== null) await client.query(first);
      assert.equal(await code(`SET ${LEVEL} = 'much'`), '22023');
      assert.equal(await code('SELECT 1'), '25P02');
      await client.query('COMMIT');
      assert.equal(await code('SELECT 1'), 'no error');
    }
  });

  test('SET LOCAL outside of a transaction changes nothing, and warns', async () => {
    const warned = new Promise<string | undefined>((resolve) =>
      client.once('notice', (notice) => resolve(notice.code)),
    );
    await client.query(`SET LOCAL ${LEVEL} = 'strong'`);
    assert.equal(await warned, '25P01');
    assert.equal(await show(client, LEVEL), 'session');
  });

  test('the level decides who serves: by SET, by option, by a hint, by the configuration of a user', async () => {
    await untilServedBy(client, 'SELECT 1', (node) => node === 'node2');
    assert.equal(await read('/* leasehold: consistency=strong */ SELECT 1'), 'node1');
    assert.equal(await read('/* leasehold: consistency=eventual */ SELECT 1'), 'node2');
    await client.query(`SET ${LEVEL} = strong`);
    assert.equal(await read(), 'node1');
    assert.equal(await read('/* leasehold: consistency=eventual */ SELECT 1'), 'node2');
    const byOption = await connectTo(cluster.port, { options: `-c ${LEVEL}=strong` });
    await byOption.query(`SET ${LEVEL} = eventual`);
    await byOption.query(`RESET ${LEVEL}`);
    assert.equal(await show(byOption, LEVEL), 'strong');
    await byOption.end();
    const strict = await connectTo(cluster.port, { user: 'strict', password: 'strict' });
    assert.equal(await show(strict, LEVEL), 'strong');
    await strict.query('SELECT 1');
    assert.equal(await nodeOf(strict), 'node1');
    await strict.end();
  });

  test('ALTER ROLE and ALTER DATABASE give defaults, the role’s before the database’s, and a bad value only warns', async () => {
    await cluster.sql('node1', "CREATE ROLE given LOGIN PASSWORD 'given'");
    await cluster.sql(
      'node1',
      "ALTER DATABASE app SET leasehold.causal_wait = '70ms'; ALTER ROLE given SET leasehold.causal_wait = '80ms'",
    );
    await cluster.sql(
      'node1',
      "ALTER ROLE given SET leasehold.consistency = 'database'; ALTER ROLE given SET leasehold.max_staleness = 'soon'",
    );
    const given = { user: 'given', password: 'given' };
    await until(async () => {
      const other = await connectTo(cluster.port, given).catch(() => null);
      const level = other === null ? '' : await show(other, LEVEL);
      await other?.end();
      return level === 'database';
    }, 'the role’s default holds');
    const other = await connectTo(cluster.port, { ...given, options: `-c ${LEVEL}=eventual` });
    assert.equal(await show(other, LEVEL), 'eventual');
    assert.equal(await show(other, 'leasehold.causal_wait'), '80ms');
    assert.equal(await show(other, 'leasehold.max_staleness'), '20s');
    await other.query("SET leasehold.causal_wait = '1s'");
    await other.query('RESET leasehold.causal_wait');
    assert.equal(await show(other, 'leasehold.causal_wait'), '80ms');
    await other.end();
    await cluster.sql('node1', 'ALTER DATABASE app RESET leasehold.causal_wait');
  });

  test('times are PostgreSQL durations, with the configuration’s as default', async () => {
    assert.equal(await show(client, 'leasehold.max_staleness'), '20s');
    assert.equal(await show(client, 'leasehold.causal_wait'), '50ms');
    await client.query("SET leasehold.max_staleness = '1.5s'");
    await client.query('SET leasehold.causal_wait = 0');
    assert.equal(await show(client, 'leasehold.max_staleness'), '1500ms');
    assert.equal(await show(client, 'leasehold.causal_wait'), '0');
    assert.equal(await code("SET leasehold.max_staleness = 'soon'"), '22023');
    await client.query('SET leasehold.max_staleness TO DEFAULT');
    assert.equal(await show(client, 'leasehold.max_staleness'), '20s');
  });

  test('set_config and current_setting mean the same as SET and SHOW', async () => {
    const { rows, command } = await client.query(`SELECT set_config('${LEVEL}', 'database', false)`);
    assert.deepEqual([rows, command], [[{ set_config: 'database' }], 'SELECT']);
    assert.deepEqual((await client.query(`SELECT current_setting('${LEVEL}') AS now`)).rows, [{ now: 'database' }]);
    await client.query('BEGIN');
    await client.query(`SELECT pg_catalog.set_config('${LEVEL}', 'strong', true)`);
    await client.query('COMMIT');
    assert.equal(await show(client, LEVEL), 'database');
    assert.equal(await code(`SELECT current_setting('leasehold.nosuch')`), '42704');
  });

  test('what there is to see and not to set, and what there is not, is told as PostgreSQL would', async () => {
    assert.match(await show(client, 'leasehold.version'), /^\d+\.\d+\.\d+/);
    assert.equal(await code("SET leasehold.version = '2'"), '55P02');
    assert.equal(await code("SET leasehold.node = 'node2'"), '55P02');
    const error = await client.query('SHOW leasehold.nosuch').catch((reason: unknown) => reason as DatabaseError);
    assert.ok(error instanceof DatabaseError);
    assert.equal(error.code, '42704');
    assert.match(error.hint ?? '', /leasehold\.consistency, leasehold\.max_staleness/);
    assert.equal(await code("SET leasehold.nosuch = '1'"), '42704');
  });

  test('among other statements a valid SET holds, an invalid one runs none of them, and SHOW is refused', async () => {
    await client.query(`SET ${LEVEL} = 'eventual'; SELECT 1`);
    assert.equal(await show(client, LEVEL), 'eventual');
    assert.equal(await code(`CREATE TABLE never (i int); SET ${LEVEL} = 'much'`), '22023');
    assert.equal(await cluster.sql('node1', "SELECT to_regclass('never') IS NULL"), 't');
    assert.equal(await code(`SELECT 1; SHOW ${LEVEL}`), '0A000');
    // The server that took it for one of its own has forgotten it.
    const other = await connectTo(cluster.port);
    for (let i = 0; i < 5; i += 1) {
      const { rows } = await other.query(`/* leasehold: leader */ SELECT current_setting('${LEVEL}', true) AS it, 1`);
      assert.ok([null, ''].includes(rows[0].it), `it was ${rows[0].it}`);
    }
    await other.end();
  });

  test('they work in the extended protocol, pipelined and with Flush, as in the simple one', async () => {
    const { rows } = await client.query({ name: 'level', text: `SHOW ${LEVEL}`, values: [] });
    assert.deepEqual(rows, [{ [LEVEL]: 'session' }]);
    await using raw = await RawClient.connect({ port: cluster.port });
    raw.send(parse('s', Buffer.from(`SHOW ${LEVEL}`)), describeMessage('S', 's'), FLUSH);
    const described = await raw.read('T');
    assert.deepEqual(
      described.map((each) => each[0]),
      ['1', 't', 'T'],
    );
    raw.send(bind('', 's'), execute(''), SYNC);
    assert.deepEqual(
      (await raw.read('Z')).map((each) => each[0]),
      ['2', 'D', 'C', 'Z'],
    );
    raw.send(parse('', Buffer.from(`SET ${LEVEL} = 'much'`)), bind('', ''), execute(''), close('S', ''), SYNC);
    const failed = await raw.read('Z');
    assert.match(failed.find((each) => each.startsWith('E')) ?? '', /^E\|ERROR\|22023\|/);
    raw.send(parse('', Buffer.from(`SET ${LEVEL} = 'strong'`)), bind('', ''), execute(''), FLUSH);
    await raw.read('C');
    raw.send(SYNC, bind('', 's'), execute(''), SYNC);
    const shown = await raw.read('Z', 2);
    assert.ok(
      shown.some((each) => each.includes('strong')),
      shown.join(' '),
    );
  });

  test('shadow mode sends everything to the leader, and tells what followers would have served', async () => {
    const shadow = await startProxy(cluster, 'proxy2', { databases: { app: { shadow: true } } });
    const shadowed = await connectTo(shadow.port);
    await shadowed.query('CREATE TABLE IF NOT EXISTS shadowed (i int)');
    await pauseReplay(cluster, 'node2');
    await shadowed.query('INSERT INTO shadowed VALUES (1)');
    await shadowed.query('SELECT * FROM shadowed');
    assert.equal(await nodeOf(shadowed), 'node1');
    const route = (await shadowed.query('EXPLAIN (ROUTE) SELECT 1')).rows[0].ROUTE as string;
    assert.match(route, /^Route: leader node1 \(shadow mode; with the split on: a follower that becomes fresh enough/);
    const rows = async (): Promise<Record<string, number>> => {
      const [row] = (await (await fetch(`${shadow.proxy.httpUrl}/shadow`)).json()) as Record<string, number>[];
      return row ?? {};
    };
    await until(async () => (await rows())['leader'] === 1, 'the causal wait is over');
    await resumeReplay(cluster, 'node2');
    await until(async () => ((await rows())['stale_max_ms'] ?? 0) >= 50, 'the follower has caught up');
    await untilServedBy(client, 'SELECT 1', (node) => node === 'node2');
    await shadowed.query('SELECT * FROM shadowed');
    assert.equal(await nodeOf(shadowed), 'node1');
    const seen = await rows();
    assert.deepEqual([seen['reads'], seen['naive_stale'], seen['no_follower']], [2, 1, 0]);
    const console = await connectTo(shadow.port, { database: 'leasehold' });
    const { rows: table } = await console.query('SHOW SHADOW');
    assert.deepEqual([table[0].user, table[0].reads, table[0].leader], ['app', '2', '1']);
    await console.end();
    const metrics = await (await fetch(`${shadow.proxy.httpUrl}/metrics`)).text();
    assert.match(metrics, /leasehold_shadow_stale_total 1/);
    assert.doesNotMatch(metrics, /leasehold_statements_total\{[^}]*role="follower"/);
    await shadowed.end();
    await shadow.stop();
  });

  test('EXPLAIN (ROUTE) is told as JSON, through the extended protocol, of several statements, with the reason in words', async () => {
    await untilServedBy(client, 'SELECT 1', (node) => node === 'node2');
    const explain = async (text: string): Promise<Record<string, unknown>> => {
      const result = await client.query({ text: `EXPLAIN (ROUTE, FORMAT JSON) ${text}`, values: [] });
      return JSON.parse(result.rows[0].ROUTE as string) as Record<string, unknown>;
    };
    const read = await explain('SELECT * FROM pg_class WHERE relname = $1 AND oid = $2');
    assert.deepEqual([read['role'], read['node'], read['class']], ['follower', 'node2', 'read']);
    const write = await explain('SELECT 1; UPDATE t SET i = 1');
    assert.deepEqual([write['role'], write['statements']], ['leader', ['read', 'write']]);
    assert.equal(write['reason'], 'it writes');
    await client.query(`SET ${LEVEL} = strong`);
    const strong = await explain('SELECT 1');
    assert.equal(strong['role'], 'leader');
    const [follower] = strong['followers'] as { readonly eligible: boolean; readonly why: string }[];
    assert.deepEqual([follower?.eligible, follower?.why], [false, 'consistency strong is the leader’s']);
    assert.equal(await code('EXPLAIN (ROUTE, FORMAT XML) SELECT 1'), '22023');
    assert.equal(await code('EXPLAIN (ROUTE, ANALYZE) SELECT 1'), '22023');
  });
});
