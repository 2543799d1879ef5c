import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { parseTerm } from '../../common/lsn.ts';
import { RewindFailed } from '../../election/postgres/errors.ts';
import { freePorts } from '../support/ports.ts';
import { connect, inTerm, makeNode, type Node, signal, timed, until } from '../support/postgres-node.ts';
import { isRunning } from '../support/processes.ts';
import { relayTo } from '../support/relay.ts';

/** Two real servers in one folder. The tests run in order: each goes on from where the one before left them. */
const folder = mkdtempSync(join(tmpdir(), 'leasehold-pg-'));
chmodSync(folder, 0o755);

let a: Node;
let b: Node;

describe('one PostgreSQL server under an agent', () => {
  before(async () => {
    const [portA, portB] = (await freePorts(2)) as [number, number];
    a = makeNode(folder, 'node-a', portA);
    b = makeNode(folder, 'node-b', portB);
  });

  after(async () => {
    await a?.server.killNow();
    await b?.server.killNow();
    rmSync(folder, { recursive: true, force: true });
  });

  test('an empty folder is initialised, and starts as a leader that acknowledges nothing before it was told whose word counts', async () => {
    assert.deepEqual(await a.server.inspect(signal()), { kind: 'empty' });
    await timed('initialise', () => a.server.initialise(signal()));
    const data = await a.server.inspect(signal());
    assert.equal(data.kind, 'data');
    assert.ok(data.kind === 'data' && data.cleanShutdown && !data.wasFollower && data.timeline === 1);
    await timed('start', () => a.server.start({ role: 'leader', peer: null }, signal()));
    const sample = await until(a, 'sampled', () => true);
    assert.equal(sample.inRecovery, false);
    assert.equal(sample.timeline, 1);
    assert.equal(sample.synchronousStandbyNames, 'ANY 1 ("Nobody yet")');
    assert.ok(data.kind === 'data' && sample.systemId === data.systemId);
    assert.equal(sample.pid, a.server.postmasterPid);
    const early = new AbortController();
    const row = a.server.writeTermRow(parseTerm(1), 'node-a', early.signal);
    await sleep(200);
    early.abort(new Error('too early'));
    await assert.rejects(row, /too early/);
  });

  test('a fenced server refuses applications, an open one admits them, and shutting them out ends their sessions', async () => {
    await a.server.setSynchronous([], 0, signal());
    await assert.rejects(connect(a, 'app', 'app', 'app'), { code: '28000' });
    await timed('open', () => a.server.openToClients(true, signal()));
    const client = await connect(a, 'app', 'app', 'app');
    await client.query('CREATE TABLE t (id int primary key)');
    await assert.rejects(connect(a, 'leasehold', 'x', 'postgres'), { code: '28000' });
    const service = await connect(a, 'leasehold_proxy', 'service', 'postgres');
    const verifiers = await service.query(`SELECT rolpassword FROM pg_authid WHERE rolname = 'app'`);
    assert.match(verifiers.rows[0].rolpassword, /^SCRAM-SHA-256\$/);
    await service.end();
    await timed('close', () => a.server.openToClients(false, signal()));
    await assert.rejects(client.query('SELECT 1'));
    await assert.rejects(connect(a, 'app', 'app', 'app'), { code: '28000' });
    await a.server.openToClients(true, signal());
  });

  test('a clone follows its leader through a slot, and a commit waits for it once the rule says so', async () => {
    await a.server.ensureSlots(parseTerm(1), ['node-a', 'node-b'], signal());
    await timed('clone', () => b.server.clone(a.peer, null, signal()));
    const data = await b.server.inspect(signal());
    assert.ok(data.kind === 'data' && data.wasFollower);
    await timed('start follower', () => b.server.start({ role: 'follower', peer: a.peer }, signal()));
    const follower = await until(b, 'streaming', (sample) => sample.receiver.streaming);
    assert.equal(follower.receiver.fromPort, a.peer.port);
    assert.equal(follower.timeline, 1);
    await timed('setSynchronous from alone', () => a.server.setSynchronous(['node-b'], 1, signal()));
    const leader = await until(a, 'has a sync standby', (sample) => sample.standbys.some((one) => one.isSync));
    assert.equal(leader.standbys[0]?.node, 'node-b');
    await timed('term row', () => a.server.writeTermRow(parseTerm(1), 'node-a', signal()));
  });

  test('a follower that is told to follow nobody has no receiver, and its leader acknowledges nothing more', async () => {
    const client = await connect(a, 'app', 'app', 'app');
    await client.query('INSERT INTO t VALUES (1)');
    await timed('follow(null)', () => b.server.follow(null, signal()));
    const sample = await until(b, 'sampled', () => true);
    assert.equal(sample.receiver.running, false);
    let answered = false;
    const hanging = client.query('INSERT INTO t VALUES (2)').then(() => {
      answered = true;
    });
    await sleep(400);
    assert.equal(answered, false);
    assert.equal((await until(b, 'sampled', () => true)).flushedLsn, sample.flushedLsn);
    await timed('follow(leader) until streaming', async () => {
      await b.server.follow(a.peer, signal());
      await until(b, 'streaming', (one) => one.receiver.streaming);
    });
    await hanging;
    for (let round = 0; round < 10; round++) {
      const start = performance.now();
      await b.server.follow(null, signal());
      console.log(`# follow(null) again: ${(performance.now() - start).toFixed(1)} ms`);
      assert.equal((await b.server.sample(signal()))?.receiver.running, false);
      await b.server.follow(a.peer, signal());
      await until(b, 'streaming', (one) => one.receiver.streaming);
    }
    await client.end();
  });

  test('a follower whose replay waits behind a read still detaches at once', async () => {
    await b.server.openToClients(true, signal());
    const writer = await connect(a, 'app', 'app', 'app');
    const reader = await connect(b, 'app', 'app', 'app');
    await reader.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await reader.query('SELECT * FROM t');
    await writer.query('TRUNCATE t');
    await sleep(100);
    await timed('follow(null) behind a conflicting read', () => b.server.follow(null, signal()));
    await b.server.follow(a.peer, signal());
    await until(b, 'streaming', (one) => one.receiver.streaming);
    await reader.end().catch(() => undefined);
    await writer.end();
  });

  test('an ALTER SYSTEM of a user does not override what the agent decides', async () => {
    const client = await connect(a, 'postgres', 'postgres', 'postgres');
    await client.query(`ALTER SYSTEM SET synchronous_standby_names = ''`);
    await client.query(`ALTER SYSTEM SET restart_after_crash = on`);
    await client.end();
    await a.server.setSynchronous(['node-b', 'node-c'], 1, signal());
    const sample = await until(a, 'sampled', () => true);
    assert.equal(sample.synchronousStandbyNames, 'ANY 1 ("node-b", "node-c")');
  });

  test('after a kill of the postmaster no backend is left when killNow resolves', async () => {
    const client = await connect(a, 'postgres', 'postgres', 'postgres');
    const busy = client.query('DO $$ BEGIN LOOP END LOOP; END $$').catch(() => undefined);
    const { rows } = await (async () => {
      const other = await connect(a, 'postgres', 'postgres', 'postgres');
      const result = await other.query(`SELECT pid FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'`);
      await other.end();
      return result;
    })();
    const backend = rows[0].pid as number;
    const exited = new Promise<void>((resolve) => a.server.onExit(resolve));
    process.kill(a.server.postmasterPid as number, 'SIGKILL');
    await exited;
    assert.ok(isRunning(backend), 'the orphan runs on');
    await timed('killNow', () => a.server.killNow());
    // A process on its way out has closed its files and left its directory a moment before the kernel calls it dead.
    const end = performance.now() + 1000;
    while (isRunning(backend) && performance.now() < end) await sleep(1);
    assert.equal(isRunning(backend), false);
    assert.equal(a.server.postmasterPid, null);
    await busy;
  });

  test('the follower is promoted and knows its timeline, history and next transaction id at once', async () => {
    await b.server.follow(null, signal());
    await b.server.setSynchronous([], 0, signal());
    const before = await until(b, 'sampled', () => true);
    const result = await timed('promote', () => b.server.promote(signal()));
    assert.equal(result.timeline, 2);
    assert.match(result.nextXid, /^\d+$/);
    const sample = await until(b, 'sampled', () => true);
    assert.equal(sample.timeline, 2);
    assert.equal(sample.history.length, 1);
    assert.ok((sample.history[0]?.endLsn ?? 0n) >= before.flushedLsn);
    await b.server.openToClients(true, signal());
    await b.server.writeTermRow(parseTerm(2), 'node-b', signal());
    await timed('checkpoint', () => b.server.checkpoint(signal()));
    await b.server.ensureSlots(parseTerm(2), ['node-a'], signal());
  });

  test('a diverged old leader is rewound and follows', async () => {
    // It went on alone for a while: WAL that the new leader does not have.
    await a.server.start({ role: 'leader', peer: null }, signal());
    await a.server.setSynchronous([], 0, signal());
    await a.server.openToClients(true, signal());
    const client = await connect(a, 'app', 'app', 'app');
    await client.query('INSERT INTO t SELECT generate_series(1000, 3000)');
    await client.end();
    const diverged = await until(a, 'sampled', () => true);
    await a.server.killNow();
    const other = await connect(b, 'app', 'app', 'app');
    await other.query('INSERT INTO t VALUES (77)');
    const fork = (await until(b, 'sampled', () => true)).history[0]?.endLsn ?? 0n;
    assert.ok(diverged.flushedLsn > fork);
    // As the agent does: first fenced, following nobody, to see where it stands.
    await a.server.start({ role: 'follower', peer: null }, signal());
    await a.server.follow(null, signal());
    const found = await until(a, 'sampled', () => true);
    assert.equal(found.timeline, 1);
    assert.ok(found.flushedLsn >= diverged.flushedLsn);
    await a.server.stop('immediate', signal());
    await timed('rewind after an immediate stop', () => a.server.rewind(inTerm(b, 2), signal()));
    await a.server.start({ role: 'follower', peer: inTerm(b, 2) }, signal());
    await a.server.openToClients(true, signal());
    await until(a, 'streams timeline 2', (one) => one.receiver.streaming && one.timeline === 2);
    const leader = await until(b, 'sampled', () => true);
    await until(a, 'caught up', (one) => one.replayedLsn >= leader.flushedLsn);
    const reader = await connect(a, 'app', 'app', 'app');
    assert.equal((await reader.query('SELECT count(*)::int AS n FROM t WHERE id >= 1000')).rows[0].n, 0);
    assert.equal((await reader.query('SELECT count(*)::int AS n FROM t WHERE id = 77')).rows[0].n, 1);
    await reader.end();
    await other.end();
  });

  test('a planned switch: fast stop ships everything, the target has it, the old leader follows without a rewind', async () => {
    await b.server.setSynchronous(['node-a'], 1, signal());
    await b.server.checkpoint(signal());
    await timed('fast stop', () => b.server.stop('fast', signal()));
    const data = await b.server.inspect(signal());
    assert.ok(data.kind === 'data' && data.cleanShutdown);
    const sample = await until(a, 'has the shutdown checkpoint', (one) => one.flushedLsn >= data.checkpointLsn);
    assert.equal(sample.timeline, 2);
    await a.server.follow(null, signal());
    await a.server.setSynchronous(['node-b'], 1, signal());
    await a.server.ensureSlots(parseTerm(3), ['node-b'], signal());
    const result = await timed('promote', () => a.server.promote(signal()));
    assert.equal(result.timeline, 3);
    await b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal());
    await until(b, 'streams timeline 3', (one) => one.receiver.streaming);
    await timed('term row', () => a.server.writeTermRow(parseTerm(3), 'node-a', signal()));
    await until(b, 'is on timeline 3', (one) => one.timeline === 3);
  });

  test('a rewind that cannot reach its source, or is interrupted before it writes, leaves the data as they were', async () => {
    await b.server.stop('fast', signal());
    const nowhere = { ...a.peer, port: (await freePorts(1))[0] as number };
    await assert.rejects(b.server.rewind(nowhere, signal()), RewindFailed);
    assert.equal((await b.server.inspect(signal())).kind, 'data');
    await using silent = await relayTo(a.peer.port, 0);
    const start = performance.now();
    const ended = b.server.rewind({ ...a.peer, port: silent.port }, AbortSignal.timeout(400));
    await assert.rejects(ended, { name: 'TimeoutError' });
    assert.ok(performance.now() - start < 1500);
    assert.equal((await b.server.inspect(signal())).kind, 'data');
  });

  test('a rewind that is interrupted when it may write leaves a mark, and a clone heals it', async () => {
    await b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal());
    await a.server.checkpoint(signal()); // both say so on which timeline they are
    const leader = await until(a, 'sampled', () => true);
    await until(b, 'has the checkpoint', (one) => one.replayedLsn >= leader.flushedLsn);
    await b.server.stop('fast', signal());
    // Of the rewind's two connections the first only looks.
    await using half = await relayTo(a.peer.port, 1);
    const ended = b.server.rewind({ ...a.peer, port: half.port }, AbortSignal.timeout(3000));
    await assert.rejects(ended, { name: 'TimeoutError' });
    assert.deepEqual(await b.server.inspect(signal()), { kind: 'unfinished', what: 'rewind' });
    await b.server.clone(inTerm(a, 3), null, signal());
    assert.equal((await b.server.inspect(signal())).kind, 'data');
    await b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal());
    await until(b, 'streams', (one) => one.receiver.streaming);
  });

  test('a follower whose replay is delayed detaches without waiting for the delay to pass for all that it received', async () => {
    await b.server.stop('fast', signal());
    const line = "recovery_min_apply_delay = '1s'\n";
    writeFileSync(join(b.dataDir, 'postgresql.conf'), line, { flag: 'a' });
    await b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal());
    await until(b, 'streams', (one) => one.receiver.streaming);
    await a.server.openToClients(true, signal());
    const client = await connect(a, 'app', 'app', 'app');
    for (let id = 5000; id < 5020; id++) {
      await client.query('INSERT INTO t VALUES ($1)', [id]);
      await sleep(50);
    }
    const leader = await until(a, 'sampled', () => true);
    const start = performance.now();
    await timed('follow(null) with a delay of 1 s', () => b.server.follow(null, signal()));
    assert.ok(performance.now() - start < 1500);
    const sample = await until(b, 'sampled', () => true);
    assert.ok(sample.flushedLsn >= leader.flushedLsn && sample.replayedLsn < leader.flushedLsn);
    await client.end();
  });

  test('a server that cannot start says why', async () => {
    await b.server.stop('fast', signal());
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(b.peer.port, '127.0.0.1', resolve));
    await assert.rejects(
      b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal()),
      /could not create any TCP|Address already/,
    );
    await new Promise((resolve) => blocker.close(resolve));
    writeFileSync(join(b.dataDir, 'postgresql.conf'), 'nonsense = 1\n', { flag: 'a' });
    await assert.rejects(b.server.start({ role: 'follower', peer: inTerm(a, 3) }, signal()), /nonsense/);
  });
});
