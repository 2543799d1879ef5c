import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { exampleProviders } from '../../test/support/proxy-status.ts';
import { acceptClient } from '../auth/accept.ts';
import { keysOfPassword } from '../auth/scram.ts';
import { serveConsole } from './console.ts';

const salt = Buffer.from('0123456789abcdef');
const keys = await keysOfPassword('secret', salt, 1);
const verifiers = {
  lookup: async () => ({ iterations: 1, salt, ...keys }),
  role: async () => null,
  close: async () => {},
};

describe('the console', () => {
  let server: Server;
  let port = 0;
  const stop = new AbortController();

  before(async () => {
    server = createServer((socket) => {
      const options = { verifiers, tls: null, tlsRequired: false, timeoutMs: 1000, signal: stop.signal };
      void acceptClient(socket, options).then(async (client) => {
        if (client.kind !== 'client') return;
        const served = (node: string) => ({ leader: node === 'node1' ? 5 : 0, follower: 7 });
        const allowed = client.user === 'postgres';
        const key = { processId: 1, secretKey: Buffer.alloc(4) };
        await serveConsole(client, exampleProviders(), { allowed, served, key, signal: stop.signal });
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
  });
  after(() => server.close());

  async function connect(user = 'postgres'): Promise<Client> {
    const client = new Client({ host: '127.0.0.1', port, user, password: 'secret', database: 'leasehold' });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  test('shows pools, clients, nodes and the lease', async () => {
    const client = await connect();
    const nodes = (await client.query('SHOW NODES')).rows;
    assert.deepEqual(nodes[1], {
      node: 'node2',
      address: '127.0.0.1:5002',
      role: 'follower',
      state: 'FOLLOWER',
      usable: 't',
      timeline: '3',
      replayed_lsn: '0/3000100',
      lag_bytes: '2048',
      freshness_ms: '300',
      as_leader: '0',
      as_follower: '7',
      note: null,
    });
    const pool = (await client.query('show pools;')).rows[0];
    assert.deepEqual([pool.cl_waiting, pool.maxwait_ms, pool.pool_mode], ['1', '12.3', 'transaction']);
    const row = (await client.query('SHOW CLIENTS -- all')).rows[0];
    assert.deepEqual([row.pins, row.request_time, row.application_name], ['listen,advisory-lock', null, 'тест']);
    assert.deepEqual((await client.query('SHOW LEASE')).rows[0].leader, 'node1');
    assert.match((await client.query('SHOW VERSION')).rows[0].version, /^Leasehold \d/);
    assert.ok((await client.query('SHOW HELP')).rows.length >= 6);
    await client.end();
  });

  test('speaks the extended protocol as drivers do', async () => {
    const client = await connect();
    const named = { name: 'nodes', text: 'SHOW NODES' };
    assert.equal((await client.query(named)).rows.length, 3);
    assert.equal((await client.query(named)).rows.length, 3);
    await assert.rejects(client.query({ name: 'x', text: 'SHOW NOTHING' }), { code: '42601' });
    assert.equal((await client.query({ text: 'SELECT 1', values: [], rowMode: 'array' })).rows.length, 1);
    await client.end();
  });

  test('answers what drivers send by themselves, several commands at once, and nothing', async () => {
    const client = await connect();
    for (const text of ['BEGIN', "SET application_name = 'x'", 'COMMIT', 'DISCARD ALL', '']) await client.query(text);
    const results = (await client.query('SHOW VERSION; SHOW POOLS')) as unknown as { rows: unknown[] }[];
    assert.equal(results.length, 2);
    await client.end();
  });

  test('what it does not know is refused with a list of what it knows, and the session goes on', async () => {
    const client = await connect();
    await assert.rejects(client.query('SELECT * FROM pg_class'), { code: '42601', hint: /SHOW POOLS/ });
    assert.equal((await client.query('SELECT 1')).rows.length, 1);
    await client.end();
  });

  test('a user who is not named in the configuration is refused, with the setting', async () => {
    await assert.rejects(connect('app'), { code: '42501', hint: /proxy\.consoleUsers/ });
  });

  test('a stopping proxy says so', async () => {
    const client = await connect();
    const ended = once(client, 'error') as Promise<[Error & { code?: string }]>;
    stop.abort(new Error('stopping'));
    assert.equal((await ended)[0].code, '57P01');
  });
});
