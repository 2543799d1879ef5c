import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { sendCancelRequest } from '../../proxy/pool/cancel.ts';
import { until } from '../support/consistency.ts';
import { pgbench } from '../support/pgbench.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** What BackendKeyData told the driver. */
function keyOf(client: Client): { processId: number; secretKey: Buffer } {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const secret = Buffer.alloc(4);
  secret.writeInt32BE(secretKey);
  return { processId: processID, secretKey: secret };
}

/** What an operator does to a running proxy. The last tests stop it. */
describe('operating a proxy', () => {
  let cluster: ProxyCluster;
  const clients: Client[] = [];

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { listen: { port: 0, reusePort: true } } });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON public.t TO app');
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect(changes: Record<string, string> = {}): Promise<Client> {
    const app = { user: 'app', password: 'app', database: 'app' };
    const client = new Client({ host: '127.0.0.1', port: cluster.port, ...app, ...changes });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  }

  async function reload(settings: Record<string, unknown>): Promise<unknown> {
    cluster.change(settings);
    const response = await fetch(`${cluster.proxy?.httpUrl}/reload`, { method: 'POST' });
    return response.json();
  }

  test('after a reload new clients meet the new limit, and those who are there stay', async () => {
    const one = await connect();
    assert.deepEqual(await reload({ maxClients: 1 }), { changed: ['proxy.maxClients'], needsRestart: [] });
    await assert.rejects(connect(), { code: '53300' });
    await one.query('SELECT 1');
    await reload({ maxClients: 100 });
    await connect();
  });

  test('after a reload held writes are refused by the new deadline', async () => {
    const one = await connect();
    await cluster.publish(true);
    await reload({ hold: { deadlineMs: 150 } });
    await assert.rejects(one.query('INSERT INTO t VALUES (1)'), { code: '57P03' });
    await cluster.publish(false);
    await reload({ hold: { deadlineMs: 30_000 } });
    await one.query('INSERT INTO t VALUES (1)');
  });

  test('after a reload a pool grows to its new size, and who waited for a connection gets one', async () => {
    await reload({ pool: { size: 1 } });
    const [one, two] = [await connect(), await connect()];
    await one.query('BEGIN');
    await one.query('INSERT INTO t VALUES (3)');
    const waiting = two.query('INSERT INTO t VALUES (4)');
    await until(async () => Number((await pool())['cl_waiting']) === 1);
    await reload({ pool: { size: 2 } });
    await waiting;
    await one.query('ROLLBACK');
  });

  async function command(text: string): Promise<Record<string, string>[]> {
    const admin = await connect({ database: 'leasehold' });
    return (await admin.query<Record<string, string>>(text)).rows;
  }

  async function pool(): Promise<Record<string, string>> {
    const rows = await command('SHOW POOLS');
    const found = rows.find(({ database, user }) => database === 'app' && user === 'app');
    assert.ok(found !== undefined);
    return found;
  }

  test('PAUSE waits for transactions, holds what comes, and RESUME lets it go on', async () => {
    const [busy, other] = [await connect(), await connect()];
    await busy.query('BEGIN');
    await busy.query('SELECT 1');
    let paused = false;
    const pause = command('PAUSE app').then(() => (paused = true));
    await until(async () => (await pool())['paused'] === 't');
    await busy.query('SELECT 2'); // its transaction goes on
    const held = other.query('SELECT 3');
    await until(async () => Number((await pool())['cl_waiting']) >= 1);
    assert.equal(paused, false);
    await busy.query('COMMIT');
    await pause;
    assert.equal((await pool())['sv_idle'], '0');
    await command('RESUME app');
    assert.equal((await held).rows.length, 1);
    await assert.rejects(command('RESUME app'), { code: '55000' });
  });

  test('RECONNECT replaces every server connection, KILL_CLIENT and KILL end clients, DISABLE keeps new ones out', async () => {
    const [one, two] = [await connect(), await connect()];
    const pid = async () =>
      (await one.query('/* leasehold: leader */ SELECT pg_backend_pid() AS pid')).rows[0].pid as number;
    const before = await pid();
    await command('RECONNECT app');
    await command('WAIT_CLOSE app');
    assert.notEqual(await pid(), before);
    const [client] = await command('SHOW CLIENTS');
    await command(`KILL_CLIENT ${client?.['id']}`);
    const alive = async (each: Client) =>
      each.query('SELECT 1').then(
        () => true,
        () => false,
      );
    assert.notEqual(await alive(one), await alive(two), 'one of the two was ended');
    await command('KILL app');
    assert.deepEqual([await alive(one), await alive(two)], [false, false]);
    await command('RESUME app');
    await command('DISABLE app');
    await assert.rejects(connect(), { code: '55000' });
    await command('ENABLE app');
    await connect();
  });

  test('work is counted: statements, routes, totals, bytes, errors', async () => {
    const one = await connect();
    for (let i = 0; i < 5; i++) await one.query(`SELECT ${i} AS counted`);
    await assert.rejects(one.query('SELECT 1 / (SELECT 0)'), { code: '22012' });
    const statement = (await command('SHOW STATEMENTS')).find(({ statement }) => /as counted/.test(statement ?? ''));
    assert.equal(statement?.['calls'], '5');
    const stats = (await command('SHOW STATS')).find(({ database }) => database === 'app');
    assert.ok(Number(stats?.['total_query_count']) >= 6 && Number(stats?.['total_received']) > 100);
    const text = await (await fetch(`${cluster.proxy?.httpUrl}/metrics`)).text();
    assert.match(text, /leasehold_server_errors_total\{sqlstate="22012"\} 1/);
    assert.match(text, /leasehold_query_duration_seconds_count\{class="read",node="node2",role="follower"\} \d/);
  });

  test('a successor takes the port over while clients come and go, and none of them sees an error', async () => {
    const before = await connect();
    const load = pgbench(cluster.port, ['-n', '-C', '-c', '4', '-T', '6', '-f', await script('SELECT 1')]);
    await sleep(1000);
    const stays = await connect();
    await stays.query('BEGIN');
    await stays.query('INSERT INTO t VALUES (5)');
    const { old, stopOld } = await cluster.takeOver();
    stopOld();
    // Its session is the old process's, and its cancel request comes to the new one.
    const slow = stays.query('SELECT pg_sleep(60)');
    const cancelled = assert.rejects(slow, { code: '57014' });
    await until(async () => {
      const records = await cluster.store.readAll('/leasehold/v1/main/proxies/', { deadlineMs: 1000 });
      return [...records.keys.values()].some(({ value }) => value.includes('cancelAddress'));
    });
    for (let tries = 0; tries < 20; tries++) {
      await new Promise<void>((resolve) =>
        sendCancelRequest({ host: '127.0.0.1', port: cluster.port, tls: 'off' }, keyOf(stays), resolve),
      );
      if (await Promise.race([cancelled.then(() => true), sleep(100).then(() => false)])) break;
    }
    await cancelled;
    await stays.query('ROLLBACK');
    await old.closed;
    // It had no open transaction, and was silent.
    await assert.rejects(before.query('SELECT 1'));
    const result = await load;
    assert.deepEqual(result.errors, []);
    assert.equal(result.code, 0, result.output);
    assert.ok(result.processed > 100, result.output);
  });

  async function script(text: string): Promise<string> {
    const { writeFile } = await import('node:fs/promises');
    const { join } = await import('node:path');
    const path = join(cluster.folder, 'script.sql');
    await writeFile(path, `${text};\n`);
    return path;
  }

  test('while it drains it says so, and a transaction may end', async () => {
    const one = await connect();
    await one.query('BEGIN');
    await one.query('INSERT INTO t VALUES (2)');
    const answer = await fetch(`${cluster.proxy?.httpUrl}/drain`, { method: 'POST' });
    assert.equal(answer.status, 202);
    await until(async () => {
      const status = await cluster.store.readAll('/leasehold/v1/main/proxies/', { deadlineMs: 1000 });
      return [...status.keys.values()].some(({ value }) => value.includes('"draining":true'));
    });
    await assert.rejects(connect(), { code: 'ECONNREFUSED' });
    await one.query('COMMIT');
    await cluster.proxy?.closed;
    await assert.rejects(one.query('SELECT 1'));
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t WHERE i = 2'), '1');
  });
});
