import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { exampleMetrics, exampleProviders } from '../../test/support/proxy-status.ts';
import { ClientError, ConfigError } from '../../common/errors.ts';
import { acceptClient } from '../auth/accept.ts';
import { keysOfPassword } from '../auth/scram.ts';
import { EMPTY_PLAN } from '../session/plan.ts';
import { Unit } from '../session/unit.ts';
import { Activity } from '../metrics/activity.ts';
import { NO_DRILLS } from '../../test/support/drills.ts';
import { ConsoleCancel, serveConsole } from './console.ts';
import type { ProxyControl } from './types.ts';

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
  const metrics = exampleMetrics();
  const providers = exampleProviders(undefined, metrics);
  const asked: unknown[][] = [];
  let reload: ProxyControl['reload'] = () => ({ changed: ['proxy.maxClients'], needsRestart: ['proxy.id'] });
  const cancels: ConsoleCancel[] = [];
  const control: ProxyControl = {
    reload: () => reload(),
    set: (path, text) => {
      if (path === 'proxy.nothing') throw new ClientError({ sqlState: '42704', message: 'unrecognized setting' });
      asked.push(['set', path, text]);
    },
    stop: (how) => asked.push(['stop', how]),
    pause: (database, signal) => {
      asked.push(['pause', database]);
      if (database !== 'busy') return Promise.resolve();
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    },
    isPaused: (database) => database !== 'idle',
    resume: (database) => asked.push(['resume', database]),
    reconnect: (database) => asked.push(['reconnect', database]),
    waitClose: async (database) => void asked.push(['wait-close', database]),
    kill: (database) => asked.push(['kill', database]),
    killClient: (id) => id === 4,
    setEnabled: (database, enabled) => asked.push(['set-enabled', database, enabled]),
    stepAside: (seconds) => asked.push(['step-aside', seconds]),
  };

  before(async () => {
    server = createServer((socket) => {
      const options = { verifiers, tls: null, tlsRequired: false, timeoutMs: 1000, signal: stop.signal };
      void acceptClient(socket, options).then(async (client) => {
        if (client.kind !== 'client') return;
        const rights = client.user === 'postgres' ? 'all' : client.user === 'looker' ? 'look' : 'none';
        const key = { processId: 1, secretKey: Buffer.alloc(4) };
        const cancel = new ConsoleCancel();
        cancels.push(cancel);
        await serveConsole(client, { providers, control, drills: NO_DRILLS, rights, key, cancel, signal: stop.signal });
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as { port: number }).port;
    for (let i = 0; i < 7; i++) {
      const activity = new Activity(metrics.log, { user: 'app', database: 'app', application: () => '' });
      const unit = new Unit();
      unit.plan = { ...EMPTY_PLAN, label: 'read' };
      unit.key = 'SELECT $1';
      activity.begin();
      activity.sent({ node: 'node2', host: 'h', port: 1, role: 'follower', term: null }, unit);
      activity.end(unit, false, false);
    }
  });
  after(() => {
    metrics.close();
    server.close();
  });

  async function connect(user = 'postgres'): Promise<Client> {
    const client = new Client({ host: '127.0.0.1', port, user, password: 'secret', database: 'pgbouncer' });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  test('shows nodes, pools, clients and the lease', async () => {
    const client = await connect();
    assert.deepEqual((await client.query('SHOW NODES')).rows[1], {
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
    // One row for each database and user, over two nodes; who is held waits as well.
    const pools = (await client.query('show pools;')).rows;
    assert.equal(pools.length, 1);
    const { cl_active, cl_waiting, maxwait, maxwait_us, pool_mode, pool_nodes, cl_held } = pools[0];
    assert.deepEqual(
      [cl_active, cl_waiting, maxwait, maxwait_us, pool_mode, pool_nodes, cl_held],
      ['4', '3', '0', '12340', 'transaction', '2', '1'],
    );
    const row = (await client.query('SHOW CLIENTS -- all')).rows[0];
    assert.deepEqual([row.pins, row.request_time, row.application_name], ['listen,advisory-lock', null, 'тест']);
    assert.deepEqual([row.wait, row.wait_us, row.connect_time], ['1', '500250', '2026-01-01 00:00:00 UTC']);
    assert.deepEqual((await client.query('SHOW LEASE')).rows[0].leader, 'node1');
    assert.match((await client.query('SHOW VERSION')).rows[0].version, /^Leasehold \d/);
    assert.ok((await client.query('SHOW HELP')).rows.length >= 30);
    await client.end();
  });

  for (const [name, columns] of Object.entries({
    // https://www.pgbouncer.org/usage.html: these and in this order, then our own.
    STATS:
      'database total_xact_count total_query_count total_received total_sent total_xact_time total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time',
    POOLS:
      'database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode',
    CLIENTS:
      'type user database state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id',
    SERVERS:
      'type user database state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id',
    DATABASES:
      'name host port database force_user pool_size min_pool_size reserve_pool pool_mode max_connections current_connections',
    TOTALS: 'name value',
    LISTS: 'list items',
    CONFIG: 'key value default changeable',
    STATE: 'key value',
    MEM: 'name size used free memtotal',
  })) {
    test(`SHOW ${name} begins with PgBouncer’s columns, numbers as int8`, async () => {
      const client = await connect();
      const { fields, rows } = await client.query(`SHOW ${name}`);
      const wanted = columns.split(' ');
      assert.deepEqual(
        fields.slice(0, wanted.length).map((field) => field.name),
        wanted,
      );
      if (['TOTALS', 'LISTS', 'CONFIG'].includes(name)) assert.equal(fields.length, wanted.length);
      assert.ok(rows.length > 0);
      for (const { name: column, dataTypeID } of fields) {
        const isNumber = /_(count|time|us|received|sent|size|connections|active|idle)$|^(port|value|items|wait)$/.test(
          column,
        );
        const isText = /^(connect|request)_time$/.test(column) || (name === 'CONFIG' && column === 'value');
        if (isNumber && !isText && name !== 'STATE') assert.equal(dataTypeID, 20, column);
        if (dataTypeID === 20) for (const row of rows) assert.match(row[column] ?? '0', /^-?\d+$/);
      }
      await client.end();
    });
  }

  test('statements are shown without literals, with where and how long they ran', async () => {
    const client = await connect();
    const [row] = (await client.query('SHOW STATEMENTS')).rows;
    const { statement, calls, as_follower, as_leader } = row;
    assert.deepEqual([statement, calls, as_follower, as_leader, row.class], ['SELECT $1', '7', '7', '0', 'read']);
    const [route] = (await client.query('SHOW ROUTES')).rows;
    assert.deepEqual([route.class, route.node, route.role, route.statements], ['read', 'node2', 'follower', '7']);
    const stats = (await client.query('SHOW STATS_TOTALS')).rows[0];
    assert.deepEqual([stats.database, stats.xact_count, stats.query_count], ['app', '7', '7']);
    const totals = (await client.query('SHOW TOTALS')).rows;
    assert.equal(totals.find((total) => total.name === 'total_query_count').value, '7');
    await client.end();
  });

  test('settings are listed by our names and by PgBouncer’s, with what is not the default', async () => {
    const client = await connect();
    const rows = (await client.query('SHOW CONFIG')).rows;
    const of = (key: string) => rows.find((row) => row.key === key);
    assert.deepEqual(of('proxy.maxClients'), {
      key: 'proxy.maxClients',
      value: '7',
      default: '2000',
      changeable: 'yes',
    });
    assert.deepEqual(of('max_client_conn'), { key: 'max_client_conn', value: '7', default: '2000', changeable: 'yes' });
    assert.equal(of('query_wait_timeout').value, '30');
    assert.equal(of('proxy.listen.port').changeable, 'no');
    await client.end();
  });

  test('speaks the extended protocol as drivers do, numbers in binary where they are wanted so', async () => {
    const client = await connect();
    const named = { name: 'nodes', text: 'SHOW NODES' };
    assert.equal((await client.query(named)).rows.length, 3);
    assert.equal((await client.query(named)).rows.length, 3);
    await assert.rejects(client.query({ name: 'x', text: 'SHOW NOTHING' }), { code: '42601' });
    assert.equal((await client.query({ text: 'SELECT 1', values: [], rowMode: 'array' })).rows.length, 1);
    const binary = { text: 'SHOW STATS', binary: true, values: [] } as unknown as string;
    const [row] = (await client.query(binary)).rows as unknown as Record<string, string | bigint>[];
    assert.equal(String(row?.['total_query_count']), '7');
    assert.equal(row?.['database'], 'app');
    await client.end();
  });

  test('answers what drivers send by themselves, several commands at once, and nothing', async () => {
    const client = await connect();
    for (const text of ['BEGIN', "SET application_name = 'x;y'", 'COMMIT', 'DISCARD ALL', '']) await client.query(text);
    const results = (await client.query('SHOW VERSION; SHOW POOLS')) as unknown as { rows: unknown[] }[];
    assert.equal(results.length, 2);
    await client.end();
  });

  for (const [text, expected] of [
    ['PAUSE', ['pause', null]],
    ['pause "My Db";', ['pause', 'My Db']],
    ['RESUME app', ['resume', 'app']],
    ['RECONNECT', ['reconnect', null]],
    ['WAIT_CLOSE app', ['wait-close', 'app']],
    ['KILL app', ['kill', 'app']],
    ['DISABLE app', ['set-enabled', 'app', false]],
    ['ENABLE app', ['set-enabled', 'app', true]],
    ['SHUTDOWN', ['stop', 'transactions']],
    ['SHUTDOWN WAIT_FOR_CLIENTS', ['stop', 'clients']],
    ['SHUTDOWN IMMEDIATE', ['stop', 'now']],
    ['SET proxy.pool.size = 30', ['set', 'proxy.pool.size', '30']],
    ["SET query_wait_timeout TO '1.5'", ['set', 'proxy.pool.waitTimeoutMs', '1500']],
  ] as const) {
    test(`${text} is carried out, for administrators only`, async () => {
      const client = await connect();
      await client.query(text);
      assert.deepEqual(asked.at(-1), expected);
      await client.end();
      const count = asked.length;
      const looker = await connect('looker');
      await assert.rejects(looker.query(text), { code: '42501', hint: /consoleUsers/ });
      assert.equal(asked.length, count);
      assert.equal((await looker.query('SHOW POOLS')).rows.length, 1);
      await looker.end();
    });
  }

  test('what cannot be done is said, and the session goes on', async () => {
    const client = await connect();
    await assert.rejects(client.query('RESUME idle'), { code: '55000', message: /"idle" is not paused/ });
    await assert.rejects(client.query('KILL_CLIENT 5'), { code: '42704', message: /no client 5/ });
    await client.query('KILL_CLIENT 4');
    await assert.rejects(client.query('SET proxy.nothing = 1'), { code: '42704' });
    await assert.rejects(client.query('KILL'), { code: '42601' });
    await assert.rejects(client.query('SUSPEND'), { code: '0A000', hint: /reusePort/ });
    await client.end();
  });

  test('RELOAD tells what changed, or every fault', async () => {
    const client = await connect();
    const notices: string[] = [];
    client.on('notice', (notice) => notices.push(String(notice.message)));
    await client.query('RELOAD');
    assert.deepEqual(notices, ['in force now: proxy.maxClients; a restart is needed for proxy.id']);
    const fault = { path: 'proxy.maxClients', source: 'x.yaml', message: 'is wrong' };
    reload = () => {
      throw new ConfigError([fault, fault]);
    };
    await assert.rejects(client.query('RELOAD'), { code: 'F0000', detail: /x\.yaml.*\n.*is wrong/ });
    await client.end();
  });

  test('a command that waits ends with its cancel', async () => {
    const client = await connect();
    const paused = client.query('PAUSE busy');
    const failed = assert.rejects(paused, { code: '57014' });
    while (asked.at(-1)?.[1] !== 'busy') await new Promise((resolve) => setImmediate(resolve));
    cancels.at(-1)?.fire();
    await failed;
    assert.equal((await client.query('SELECT 1')).rows.length, 1);
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
