import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { query } from '../../proxy/wire/encode.ts';
import { until } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** Clients that are gone while what they asked for is still carried out: their servers come back. */
describe('a client that vanishes', () => {
  let cluster: ProxyCluster;

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 0 });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int, v text); GRANT ALL ON public.t TO app');
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect() {
    const target = {
      host: '127.0.0.1',
      port: cluster.port,
      user: 'app',
      database: 'app',
      tls: { mode: 'disable' },
    } as const;
    const credentials = { kind: 'password', password: 'app' } as const;
    const limits = { signal: AbortSignal.timeout(15_000), connectTimeoutMs: 15_000 };
    const { socket } = await loginToBackend({ ...target, credentials, parameters: new Map() }, limits);
    socket.on('error', () => undefined);
    return socket;
  }

  const activity = (what: string): Promise<string> =>
    cluster.sql('node1', `SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND ${what}`);

  test('before its COPY has begun leaves no server that waits for its data', async () => {
    const locked = cluster.sql('node1', 'BEGIN; LOCK TABLE t; SELECT pg_sleep(1); COMMIT');
    await until(
      async () =>
        (await cluster.sql('node1', "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'")) !== '0',
    );
    const socket = await connect();
    socket.write(query('COPY t FROM STDIN'));
    await until(async () => (await activity("wait_event_type = 'Lock'")) === '1');
    socket.destroy();
    await locked;
    await until(async () => (await activity("state = 'active'")) === '0');
  });

  test('without having read what its write returned leaves no server that waits for it; the write is carried out', async () => {
    const socket = await connect();
    socket.pause();
    socket.write(query("INSERT INTO t SELECT i, repeat('x', 100000) FROM generate_series(1, 500) i RETURNING v"));
    await until(async () => (await activity("wait_event = 'ClientWrite'")) === '1');
    socket.destroy();
    await until(async () => (await activity("state = 'active'")) === '0');
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t'), '500');
  });
});
