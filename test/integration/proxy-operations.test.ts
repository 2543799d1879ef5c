import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { pgbench } from '../support/pgbench.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

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

  test('a successor takes the port over while clients come and go, and none of them sees an error', async () => {
    const before = await connect();
    const load = pgbench(cluster.port, ['-n', '-C', '-c', '4', '-T', '6', '-f', await script('SELECT 1')]);
    await sleep(1000);
    const { old, stopOld } = await cluster.takeOver();
    stopOld();
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

  async function until(holds: () => Promise<boolean>): Promise<void> {
    for (let i = 0; i < 60; i++) {
      if (await holds()) return;
      await sleep(50);
    }
    assert.fail('not within 3 s');
  }
});
