import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { pino } from 'pino';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import type { BackendLogin } from '../../proxy/auth/types.ts';
import { sendCancelRequest } from '../../proxy/pool/cancel.ts';
import { type RunningProxy, runProxy } from '../../proxy/server/run-proxy.ts';
import { decodeErrorFields } from '../../proxy/wire/decode.ts';
import { query } from '../../proxy/wire/encode.ts';
import { until } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

describe('cancel requests to two proxies behind one address', { timeout: 60_000 }, () => {
  let cluster: ProxyCluster;
  let other: RunningProxy;
  const stop = new AbortController();

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 0 });
    const config = leaseholdConfig.parse({
      cluster: { etcd: [cluster.etcd.endpoint] },
      service: { password: 'service' },
      proxy: { id: 'proxy2', listen: { port: 0 }, http: { port: 0 } },
    });
    other = await runProxy({ config, logger: pino({ level: 'silent' }), signal: stop.signal });
    await until(async () => {
      const known = await Promise.all([cluster.proxy?.httpUrl, other.httpUrl].map((url) => proxiesOf(url ?? '')));
      return known.every((ids) => ids.join() === 'proxy1,proxy2');
    }, 'each proxy knows both');
  });
  after(async () => {
    stop.abort();
    await other.closed;
    await cluster[Symbol.asyncDispose]();
  });

  async function running(pattern: string): Promise<boolean> {
    const sql = `SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '${pattern}%'`;
    return (await cluster.sql('node1', sql)) === '1';
  }

  async function login(port: number, replication?: 'database'): Promise<BackendLogin> {
    const user = 'postgres';
    const credentials = { kind: 'password', password: user } as const;
    const to = { host: '127.0.0.1', port, user, database: 'app', credentials, parameters: new Map() };
    const login = await loginToBackend(
      { ...to, tls: { mode: 'disable' }, ...(replication === undefined ? {} : { replication }) },
      { signal: AbortSignal.timeout(10_000), connectTimeoutMs: 10_000 },
    );
    login.socket.resume();
    return login;
  }

  /** The SQLSTATE with which a query on this connection ends after a cancel request to this port. */
  async function cancelled(to: BackendLogin, port: number, sql: string): Promise<string> {
    const error = new Promise<string>((resolve) => {
      to.socket.on('data', (chunk: Buffer) => {
        for (let at = 0; at < chunk.length; at += 1 + chunk.readInt32BE(at + 1)) {
          const end = at + 1 + chunk.readInt32BE(at + 1);
          if (chunk[at] === 0x45) resolve(decodeErrorFields(chunk, at + 5, end).sqlState);
        }
      });
    });
    to.socket.write(query(sql));
    await until(() => running(sql), `${sql} runs`);
    await new Promise<void>((done) => sendCancelRequest({ host: '127.0.0.1', port, tls: 'off' }, to, done));
    const state = await error;
    to.socket.destroy();
    return state;
  }

  test('the key of a client of protocol 3.2 works at either proxy', async () => {
    for (const [index, port] of [cluster.port, other.address.port].entries()) {
      const client = await login(cluster.port);
      assert.deepEqual([client.protocolMinor, client.secretKey.length], [2, 32]);
      assert.equal(await cancelled(client, port, `SELECT pg_sleep(20), ${index}`), '57014');
    }
  });

  test('the key of a client of protocol 3.0 works at either proxy', async () => {
    for (const port of [cluster.port, other.address.port]) {
      const client = new Client({ connectionString: cluster.url });
      await client.connect();
      const key = client as unknown as { processID: number; secretKey: number };
      const ended = assert.rejects(client.query('SELECT pg_sleep(21)'), { code: '57014' });
      await until(() => running('SELECT pg_sleep(21)'), 'it runs');
      const secretKey = Buffer.alloc(4);
      secretKey.writeInt32BE(key.secretKey);
      const request = { processId: key.processID, secretKey };
      await new Promise<void>((done) => sendCancelRequest({ host: '127.0.0.1', port, tls: 'prefer' }, request, done));
      await ended;
      assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
      await client.end();
    }
  });

  test('a replication connection has a key that cancels what runs on it', async () => {
    const walsender = await login(cluster.port, 'database');
    assert.equal(await cancelled(walsender, other.address.port, 'SELECT pg_sleep(22)'), '57014');
  });

  test('a cancel request that was answered hits nothing that its client sends later', async () => {
    const client = new Client({ connectionString: cluster.url });
    await client.connect();
    const key = client as unknown as { processID: number; secretKey: number };
    const secretKey = Buffer.alloc(4);
    secretKey.writeInt32BE(key.secretKey);
    await client.query('BEGIN');
    for (let i = 0; i < 30; i++) {
      await client.query('SAVEPOINT s');
      // Cancelled or not: it ends about when the request arrives.
      const first = client.query('SELECT pg_sleep(0.002)').catch(() => client.query('ROLLBACK TO s'));
      const request = { processId: key.processID, secretKey };
      await new Promise<void>((done) =>
        sendCancelRequest({ host: '127.0.0.1', port: other.address.port, tls: 'off' }, request, done),
      );
      await first;
      await client.query('SELECT pg_sleep(0.002)');
    }
    await client.query('COMMIT');
    await client.end();
  });
});

async function proxiesOf(httpUrl: string): Promise<string[]> {
  const answer = await fetch(`${httpUrl}/status`);
  const { proxies } = (await answer.json()) as { proxies: { id: string }[] };
  return proxies.map(({ id }) => id).sort();
}
