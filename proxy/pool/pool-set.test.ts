import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientError } from '../../common/errors.ts';
import { FakePools, follower, never, settingsOf } from '../../test/support/fake-pools.ts';
import { settle } from '../../test/support/fake-servers.ts';
import type { Credentials } from '../auth/types.ts';

const OLD: Credentials = { kind: 'password', password: 'old' };
const NEW: Credentials = { kind: 'password', password: 'new' };

test('after a login with a new password every pool of the user opens its connections with that', async () => {
  const { pools, servers } = new FakePools({}, false);
  const poolOf = (node: string, credentials: Credentials) => pools.poolOf(follower(node), 'app', 'app', credentials);
  const attempt = (node: string, credentials: Credentials) => {
    const refused = assert.rejects(poolOf(node, credentials).take(never), { sqlState: '28P01' });
    servers.connections.at(-1)?.refuse(new ClientError({ sqlState: '28P01', message: 'refused' }));
    return refused;
  };
  pools.noteLogin('app', 'app', OLD);
  await attempt('node1', OLD);
  pools.noteLogin('app', 'app', NEW);
  pools.noteLogin('other', 'app', OLD);
  await attempt('node1', NEW);
  // Sessions from before the change go on using the pools, and open new ones.
  await attempt('node2', OLD);
  assert.deepEqual(
    servers.connections.map(({ target }) => target.credentials),
    [OLD, NEW, NEW],
  );
  pools.close();
});

test('a user who was let in without a proof uses the last one that was given, and replaces none', () => {
  const { pools } = new FakePools({}, false);
  const none: Credentials = { kind: 'none', method: 'trust' };
  assert.equal(pools.proofOf('app', none), none);
  pools.noteLogin('app', 'app', NEW);
  pools.noteLogin('app', 'app', none);
  assert.equal(pools.proofOf('app', none), NEW);
  pools.close();
});

test('at the limit over all pools an idle connection of another pool is closed to make room, the longest idle first', async () => {
  const fake = new FakePools({ pool: { maxConnections: 2 } });
  const [a, b, c] = ['a', 'b', 'c'].map((user) => fake.of(user));
  assert.ok(a && b && c);
  const first = await a.take(never);
  a.give(first);
  fake.nowMs += 10;
  const second = await b.take(never);
  b.give(second);
  const third = c.take(never);
  assert.deepEqual([first.closed, second.closed], [true, false]);
  assert.equal(fake.servers.connections.length, 2, 'not before the server has one connection less');
  fake.servers.connections[0]?.close();
  assert.equal((await third).closed, false);
  assert.equal(fake.servers.present.length, 2);
});

test('where every connection is in use a pool whose clients came later gives one up to a pool that has none', async () => {
  const fake = new FakePools({ pool: { maxConnections: 1 } });
  const busy = fake.of('busy');
  const starved = fake.of('starved');
  let held = await busy.take(never);
  const served = starved.take(never);
  for (let turn = 0; turn < 3; turn += 1) {
    fake.pass(40);
    const next = busy.take(never);
    busy.give(held);
    if (held.closed) break;
    held = await next;
  }
  assert.equal(held.closed, true);
  fake.servers.connections[0]?.close();
  assert.equal((await served).closed, false);
});

test('limits of one node, database and user hold over pools, and an error names the setting and who holds connections', async () => {
  const fake = new FakePools({
    pool: { maxConnectionsPerNode: 3, waitTimeoutMs: 100 },
    databases: { app: { maxConnections: 2 } },
    users: { ann: { maxConnections: 1 } },
  });
  await fake.of('bob').take(never);
  await fake.of('ann').take(never);
  const refused = async (user: string, database: string, node: string, setting: string) => {
    const wait = assert.rejects(fake.of(user, database, follower(node)).take(never), (error) => {
      assert.ok(error instanceof ClientError);
      assert.equal(error.sqlState, '53300');
      const detail = error.detail ?? '';
      assert.ok(detail.includes(`(${setting})`), detail);
      assert.match(detail, /"(bob|ann)" in "(app|other)" on node1 1 \(1 in use\)/);
      return true;
    });
    fake.pass(100);
    await wait;
  };
  await refused('ann', 'other', 'node2', 'proxy.users.ann.maxConnections');
  await refused('bob', 'app', 'node2', 'proxy.databases.app.maxConnections');
  await fake.of('bob', 'other').take(never);
  await refused('cid', 'other', 'node1', 'proxy.pool.maxConnectionsPerNode');
});

test('connections are kept open in advance for users who have logged in, on a new leader too', async () => {
  const fake = new FakePools({ pool: { minSize: 2 } });
  fake.pools.setPlaces([{ node: 'node1', host: 'h', port: 1, role: 'leader', term: 1n as never }]);
  assert.equal(fake.servers.connections.length, 0);
  fake.pools.noteLogin('app', 'app', OLD);
  fake.pools.sweep();
  await settle();
  assert.equal(fake.servers.in('open').length, 2);
  fake.nowMs += 700_000;
  fake.pools.sweep();
  assert.equal(fake.servers.in('open').length, 2, 'idle ones are not closed below the minimum');
  fake.servers.prompt = false;
  fake.pools.setPlaces([{ node: 'node2', host: 'h', port: 2, role: 'leader', term: 2n as never }]);
  fake.pools.endTermsBefore(2n as never);
  for (const connection of fake.servers.in('opening')) {
    connection.refuse(new ClientError({ sqlState: '28000', message: 'no pg_hba.conf entry' }));
  }
  await settle();
  fake.servers.prompt = true;
  fake.pass(60);
  await settle();
  assert.equal(fake.servers.in('open').filter(({ target }) => target.port === 2).length, 2);
});

test('connections are kept open in advance to followers that serve, and not tried for to others', async () => {
  const fake = new FakePools({ users: { app: { minSize: 1 } } });
  fake.pools.noteLogin('app', 'app', OLD);
  fake.pools.noteLogin('other', 'app', OLD);
  fake.pools.setPlaces(['node1', 'node2', 'node3'].map(follower));
  fake.pools.noteNodes([
    { node: 'node1', usable: true, unreachableSinceMs: null, freshAsOfMs: 0 },
    { node: 'node2', usable: false, unreachableSinceMs: null, freshAsOfMs: 0 },
    { node: 'node3', usable: true, unreachableSinceMs: fake.nowMs, freshAsOfMs: 0 },
  ]);
  fake.pools.sweep();
  await settle();
  assert.deepEqual(
    [...fake.pools.all()].filter(({ size }) => size > 0).map(({ seat }) => `${seat.user} ${seat.node}`),
    ['app node1'],
  );
});

test('PAUSE closes connections as they come free, holds clients back, and RESUME lets them go on', async () => {
  const fake = new FakePools({});
  const pool = fake.of();
  const used = await pool.take(never);
  const idle = await pool.take(never);
  pool.give(idle);
  const other = await fake.of('app', 'other').take(never);
  let done = false;
  const paused = fake.pools.pause('app', never).then(() => (done = true));
  const waiting = pool.take(never);
  assert.equal(pool.tryTake(), null);
  assert.deepEqual([idle.closed, used.closed, other.closed], [true, false, false]);
  fake.servers.connections[1]?.close();
  await settle();
  assert.equal(done, false);
  pool.give(used);
  fake.servers.connections[0]?.close();
  await paused;
  assert.equal(pool.queue.size, 1);
  fake.pools.resume('app');
  assert.equal((await waiting).closed, false);
});

test('a client that waits too long for a paused database is told so', async () => {
  const fake = new FakePools({ pool: { waitTimeoutMs: 100 } });
  await fake.pools.pause('app', never);
  const wait = assert.rejects(fake.of().take(never), { sqlState: '57P03', detail: /paused by an operator/ });
  fake.pass(100);
  await wait;
});

test('RECONNECT replaces each connection when it is free, KILL ends all of a database at once', async () => {
  const fake = new FakePools({});
  const pool = fake.of();
  const used = await pool.take(never);
  const idle = await pool.take(never);
  pool.give(idle);
  fake.pools.reconnect(null);
  assert.deepEqual([idle.closed, used.closed], [true, false]);
  const fresh = await pool.take(never);
  pool.give(fresh);
  pool.give(used);
  assert.deepEqual([fresh.closed, used.closed], [false, true]);
  const held = await fake.of('app', 'other').take(never);
  const again = await pool.take(never);
  fake.pools.kill('app');
  assert.deepEqual([again.closed, held.closed], [true, false]);
  const waiting = pool.take(never);
  await settle();
  assert.equal(pool.stock.all.size + pool.opening, 0);
  fake.pools.resume('app');
  assert.equal((await waiting).closed, false);
});

test('after a reload of the servers’ TLS connections are replaced as they come free, spread over time', async () => {
  const shares = [0, 0, 0.1, 0.9];
  const fake = new FakePools({}, true, () => shares.shift() ?? 0);
  const pool = fake.of();
  const early = await pool.take(never);
  const late = await pool.take(never);
  fake.pools.reconfigure(settingsOf({ serverTls: { mode: 'require' } }));
  fake.nowMs += 5_000;
  pool.give(early);
  pool.give(late);
  assert.deepEqual([early.closed, late.closed], [true, false]);
  fake.nowMs += 5_000;
  fake.pools.sweep();
  assert.equal(late.closed, true);
  await pool.take(never);
  assert.equal(fake.servers.connections.at(-1)?.target.tls.mode, 'require');
});

test('a reload of the sizes counts at once', async () => {
  const fake = new FakePools({ pool: { size: 1 } });
  const pool = fake.of();
  const a = await pool.take(never);
  const waiting = pool.take(never);
  fake.pools.reconfigure(settingsOf({ pool: { size: 2 } }));
  const b = await waiting;
  fake.pools.reconfigure(settingsOf({ pool: { size: 1 } }));
  pool.give(a);
  pool.give(b);
  assert.deepEqual([a.closed, b.closed], [true, false]);
});

test('of a node that cannot be reached, connections are lost that say nothing, before TCP finds out', async () => {
  const fake = new FakePools({});
  const pool = fake.of();
  const [silent, speaking, idle] = await Promise.all([pool.take(never), pool.take(never), pool.take(never)]);
  pool.give(idle);
  let lost = '';
  const user = {
    onBackendMessage: () => undefined,
    onBackendPart: () => undefined,
    onBackendChunkEnd: () => undefined,
    onBackendDrain: () => undefined,
    onBackendLost: ({ reason }: { readonly reason: string }) => (lost = reason),
  };
  for (const backend of [silent, speaking]) {
    backend.attach(user);
    backend.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
  }
  const see = (unreachableSinceMs: number | null) =>
    fake.pools.noteNodes([{ node: 'node1', usable: false, unreachableSinceMs, freshAsOfMs: 0 }]);
  see(fake.nowMs);
  fake.nowMs += 4_900;
  fake.pools.sweep();
  assert.equal(idle.closed, false);
  fake.nowMs += 1_000;
  fake.pools.sweep();
  assert.deepEqual([idle.closed, silent.closed, speaking.closed], [true, false, false]);
  fake.servers.connections[1]?.say(Buffer.from('N\0\0\0\x05\0', 'latin1'));
  fake.nowMs += 1_000;
  fake.pools.sweep();
  assert.deepEqual([silent.closed, speaking.closed], [true, false]);
  assert.equal(lost, 'node1 could not be reached for 6900 ms');
  see(null);
  fake.nowMs += 1_000;
  fake.pools.sweep();
  assert.equal(speaking.closed, false);
});

test('a client whose new connection is closed at once is served by room that comes free elsewhere', async () => {
  const fake = new FakePools({ users: { ann: { maxConnections: 2 } } }, false);
  const refused = assert.rejects(fake.of('ann', 'other').take(never), { sqlState: '57P03' });
  const wait = fake.of('ann').take(never);
  fake.pools.reconfigure(settingsOf({ users: { ann: { maxConnections: 2 } }, serverTls: { mode: 'require' } }));
  fake.servers.connections[1]?.accept(); // it was made as it should not be any more
  await settle();
  fake.servers.connections[0]?.refuse(new ClientError({ sqlState: '57P03', message: 'starting up' }));
  await refused;
  assert.equal(fake.servers.connections.length, 3);
  fake.servers.connections[2]?.accept();
  assert.equal((await wait).closed, false);
});

test('a pool that nobody uses is forgotten, and closed, so that who has kept it asks for another one', async () => {
  const fake = new FakePools({});
  const pool = fake.of();
  pool.give(await pool.take(never));
  fake.nowMs += 700_000;
  fake.pools.sweep(); // its connection has been idle for too long
  fake.servers.connections[0]?.close();
  fake.pools.sweep();
  assert.equal(pool.closed, true);
  assert.notEqual(fake.of(), pool);
});
