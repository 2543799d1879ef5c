import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { sendCancelRequest } from '../../proxy/pool/cancel.ts';
import { bind, close, execute, FLUSH, parse, query, SYNC } from '../../proxy/wire/encode.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';

/** What one session leaves behind, or a proxy overlooks, and others would have to suffer. */
describe('sessions that share servers', () => {
  let cluster: ProxyCluster;
  const clients: Client[] = [];

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { hold: { deadlineMs: 8000 } } });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int PRIMARY KEY, v text); GRANT ALL ON public.t TO app');
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
    await replayed();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
  });
  after(() => cluster[Symbol.asyncDispose]());

  async function connect(changes: Record<string, string> = {}): Promise<Client> {
    const client = new Client({ host: '127.0.0.1', port: cluster.port, ...APP, ...changes });
    client.on('error', () => undefined);
    await client.connect();
    clients.push(client);
    return client;
  }

  /** Until the follower shows what the leader has now. */
  async function replayed(): Promise<void> {
    const lsn = await cluster.sql('node1', 'SELECT pg_current_wal_insert_lsn()');
    for (let i = 0; i < 100; i++) {
      if ((await cluster.sql('node2', `SELECT pg_last_wal_replay_lsn() >= '${lsn}'`)) === 't') return;
      await sleep(30);
    }
    throw new Error('the follower does not replay');
  }

  test('after a change of password sessions from before it go on, with the proof of a later login', async () => {
    await cluster.sql('node1', "CREATE ROLE changing LOGIN PASSWORD 'old'");
    await replayed();
    const old = await connect({ user: 'changing', password: 'old' });
    await old.query('SELECT 1');
    await cluster.sql('node1', "ALTER ROLE changing PASSWORD 'new'");
    await replayed();
    await assert.rejects(connect({ user: 'changing', password: 'old' }), { code: '28P01' });
    const fresh = await connect({ user: 'changing', password: 'new' });
    const busy = Promise.all([
      fresh.query('SELECT pg_sleep(0.3)'),
      old.query('SELECT pg_sleep(0.3)'),
      connect({ user: 'changing', password: 'new' }).then((third) => third.query('SELECT pg_sleep(0.3)')),
    ]);
    await busy;
    // A pool that is new: the leader's.
    await old.query('BEGIN; SELECT txid_current(); COMMIT');
  });

  test('what a READ ONLY transaction left on a follower is not there for others', async () => {
    const client = await connect();
    await client.query('BEGIN READ ONLY');
    await client.query('SELECT 1');
    await client.query('PREPARE left_behind AS SELECT 1');
    await client.query('COMMIT');
    const other = await connect();
    await other.query('BEGIN READ ONLY');
    const { rows } = await other.query(
      'SELECT (SELECT count(*)::int FROM pg_prepared_statements WHERE from_sql) + count(*)::int AS n FROM pg_cursors',
    );
    await other.query('COMMIT');
    assert.equal(rows[0].n, 0);
    assert.equal((await client.query('EXECUTE left_behind')).rowCount, 1); // its own, wherever
  });

  test('a READ ONLY transaction that begins with what outlasts it runs on the leader, which the session keeps', async () => {
    const client = await connect();
    await client.query('BEGIN READ ONLY');
    await client.query('SELECT pg_advisory_lock(79)');
    await client.query('COMMIT');
    assert.equal((await client.query('SELECT pg_advisory_unlock(79) AS held')).rows[0].held, true);
  });

  test('an advisory lock of a READ ONLY transaction meets others on the leader, and is refused where it would not', async () => {
    const client = await connect();
    await client.query('BEGIN READ ONLY');
    await client.query('SELECT pg_advisory_xact_lock(81)');
    const other = await connect();
    assert.equal((await other.query('SELECT pg_try_advisory_lock(81) AS got')).rows[0].got, false);
    await client.query('COMMIT');
    for (const text of ['SELECT pg_try_advisory_xact_lock(82)', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1']) {
      await client.query('BEGIN READ ONLY');
      await client.query('SELECT 1');
      await assert.rejects(client.query(text), { code: '0A000' });
      await assert.rejects(client.query(text), { code: '25P02' });
      await client.query('COMMIT');
      await client.query('BEGIN READ ONLY');
      await client.query('SELECT 1');
      await assert.rejects(client.query({ text, values: [] }), { code: '0A000' });
      await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
      await client.query('ROLLBACK');
    }
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  });

  test('a lock that was taken by a statement that failed keeps the session on its server', async () => {
    const client = await connect();
    const query = 'SELECT pg_advisory_lock(80), 1 / count(*) FROM t WHERE i < 0';
    await assert.rejects(client.query(query), { code: '22012' });
    const other = await connect();
    const elsewhere = other.query('/* leasehold: leader */ SELECT pg_sleep(0.3)');
    assert.equal((await client.query('SELECT pg_advisory_unlock(80) AS held')).rows[0].held, true);
    await elsewhere;
    const { rows } = await other.query(
      "/* leasehold: leader */ SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory'",
    );
    assert.equal(rows[0].n, 0);
  });

  test('a sequence without a Sync, far ahead of its answers, is answered in full', async () => {
    await using raw = await RawClient.connect({ port: cluster.port });
    const round = [parse('', Buffer.from('SELECT 1')), bind('', ''), close('S', 'unknown'), close('P', '')];
    raw.send(parse('', Buffer.from('SELECT pg_sleep(0.3)')), bind('', ''), execute(''), FLUSH);
    for (let i = 0; i < 3_000; i++) raw.send(...round);
    // Closes are answered by the proxy, in their turn: behind what the server has not been asked to send.
    for (let i = 0; i < 6_000; i++) raw.send(close('S', 'unknown'));
    raw.send(SYNC);
    const answers = await raw.read('Z', 1, 15_000);
    assert.equal(answers.filter((answer) => answer.startsWith('3')).length, 3_000 * 2 + 6_000);
    assert.equal(answers.filter((answer) => answer.startsWith('2')).length, 3_001);
  });

  describe('S5 within a unit: when the lease is over, the leader gets no more of it', () => {
    const insert = (n: number) => [parse('', Buffer.from(`INSERT INTO t VALUES (${n})`)), bind('', ''), execute('')];
    const copy = (letter: string, text = '') => {
      const message = Buffer.from(`${letter}....${text}`);
      message.writeInt32BE(message.length - 1, 1);
      return message;
    };
    const UNITS: readonly (readonly [string, Buffer[], string, Buffer[][]])[] = [
      ['statements after a Flush', [...insert(2001), FLUSH], 'C', [[...insert(2002), FLUSH], [SYNC]]],
      ['the Sync after a Flush', [...insert(2003), FLUSH], 'C', [[SYNC]]],
      ['a Query after a Flush', [...insert(2004), FLUSH], 'C', [[query('INSERT INTO t VALUES (2005)')]]],
      ['COPY data', [query('COPY t FROM STDIN')], 'G', [[copy('d', '2006\tx\n'), copy('c')]]],
    ];
    for (const [name, first, until, then] of UNITS) {
      test(name, async () => {
        await using raw = await RawClient.connect({ port: cluster.port });
        raw.send(...first);
        await raw.read(until);
        await cluster.releaseLeader();
        try {
          await sleep(200);
          for (const messages of then) raw.send(...messages);
          const answers = await raw.read('Z');
          assert.match(answers[0] ?? '', /^E\|ERROR\|(?:08007|40001)\|/);
          assert.equal(answers.at(-1), 'Z|"I"');
          assert.equal(answers.length, 2);
          await sleep(100);
          assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM t WHERE i > 2000'), '0');
        } finally {
          await cluster.publish(false);
        }
        raw.send(query('INSERT INTO t VALUES (1)'), query('DELETE FROM t WHERE i = 1'));
        assert.deepEqual((await raw.read('Z', 2)).map((answer) => answer[0]).join(''), 'CZCZ');
      });
    }
  });

  test('settings beyond those that the proxy keeps do not stay on a follower', async () => {
    await cluster.sql('node1', "CREATE ROLE setting LOGIN PASSWORD 'setting'");
    await replayed();
    const client = await connect({ user: 'setting', password: 'setting' });
    for (let i = 0; i < 205; i++) await client.query(`SET leaking.s${i} = 'x'`);
    const other = await connect({ user: 'setting', password: 'setting' });
    for (const hint of ['', '/* leasehold: leader */ ']) {
      const { rows } = await other.query(
        `${hint}SELECT count(current_setting('leaking.s' || i, true))::int AS n,
         count(nullif(current_setting('leaking.s' || i, true), ''))::int AS set FROM generate_series(0, 204) AS i`,
      );
      assert.equal(rows[0].set, 0, JSON.stringify(rows[0]));
    }
  });

  test('without a leader a log-in that every server would refuse is refused at once, with the reason', async () => {
    await cluster.sql('node1', 'CREATE DATABASE shut');
    await cluster.sql('node1', 'REVOKE CONNECT ON DATABASE shut FROM PUBLIC');
    await replayed();
    await cluster.releaseLeader();
    try {
      const startedAt = Date.now();
      await assert.rejects(connect({ database: 'nosuch' }), { code: '3D000' });
      await assert.rejects(connect({ database: 'shut' }), { code: '42501' });
      assert.ok(Date.now() - startedAt < 3_000, `${Date.now() - startedAt} ms`);
    } finally {
      await cluster.publish(false);
    }
  });

  describe('without the followers that it waits for', () => {
    before(async () => {
      await cluster.sql('node1', "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (node9)'");
      await cluster.sql('node1', 'SELECT pg_reload_conf()');
      await sleep(300);
    });
    after(async () => {
      await cluster.sql('node1', 'ALTER SYSTEM RESET synchronous_standby_names');
      await cluster.sql('node1', 'SELECT pg_reload_conf()');
    });

    let next = 1000;
    const WAYS: readonly (readonly [string, (client: Client) => Promise<unknown>])[] = [
      ['a write', (client) => client.query(`INSERT INTO t VALUES (${next++})`)],
      ['a write over the extended protocol', (client) => client.query('INSERT INTO t VALUES ($1)', [next++])],
      [
        'several writes in one text',
        (c) => c.query(`INSERT INTO t VALUES (${next++}); INSERT INTO t VALUES (${next++})`),
      ],
    ];
    for (const level of ['warning', 'error']) {
      for (const [name, work] of WAYS) {
        test(`${name} whose wait is cancelled is no success with client_min_messages = ${level}`, async () => {
          const client = await connect();
          await client.query(`SET client_min_messages = ${level}`);
          const refused = assert.rejects(work(client), { code: '08007' });
          await sleep(300);
          await cancel(client);
          await refused;
          assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
        });
      }
    }

    test('nor if the level was set where the proxy cannot see it; the cancel of other work stays a cancel', async () => {
      const client = await connect();
      await client.query('BEGIN');
      const sleeping = assert.rejects(client.query('SELECT pg_sleep(20), txid_current()'), { code: '57014' });
      await sleep(200);
      await cancel(client);
      await sleeping;
      assert.equal((await client.query('ROLLBACK')).command, 'ROLLBACK');
      await client.query("SELECT set_config('client_min_messages', 'error', false)");
      const refused = assert.rejects(client.query(`DELETE FROM t`), { code: '08007' });
      await sleep(300);
      await cancel(client);
      await refused;
    });

    test('a cancel request does not reach a COMMIT, which waits on and succeeds when followers acknowledge it', async () => {
      const client = await connect();
      await client.query('BEGIN');
      await client.query(`INSERT INTO t VALUES (${next++})`);
      const committed = client.query('COMMIT');
      const waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT' AND usename = 'app'";
      while ((await cluster.sql('node1', waiting)) !== '1') await sleep(20);
      await cancel(client);
      await cluster.sql('node1', 'ALTER SYSTEM RESET synchronous_standby_names');
      await cluster.sql('node1', 'SELECT pg_reload_conf()');
      assert.equal((await committed).command, 'COMMIT');
    });
  });

  async function cancel(client: Client): Promise<void> {
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const key = { processId: processID, secretKey: Buffer.alloc(4) };
    key.secretKey.writeInt32BE(secretKey);
    await new Promise<void>((resolve) =>
      sendCancelRequest({ host: '127.0.0.1', port: cluster.port, tls: 'off' }, key, resolve),
    );
  }
});

const APP = { user: 'app', password: 'app', database: 'app' };
