import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';
import { childrenOf, commandLine, isRunning } from '../support/processes.ts';
import { startProbe } from '../support/write-probe.ts';

const TTL_MS = 3000;
const ETCD_OUTAGE_MS = 30_000;
let cluster: LocalCluster;

before(async () => {
  cluster = await startLocalCluster();
});
after(() => cluster?.stop());

test('an agent paused for three lease times: its PostgreSQL is dead before the deadline, and the node rejoins', async () => {
  const probe = await startProbe(cluster);
  await probe.untilAcknowledged(20);
  const old = await cluster.leader();
  assert.ok(old.agentPid !== null && old.postgresPid !== null);
  const pausedAtMs = performance.now();
  process.kill(old.agentPid, 'SIGSTOP');
  try {
    const postgresPid = old.postgresPid;
    await cluster.until('PostgreSQL of the paused agent is dead', () => !isRunning(postgresPid), TTL_MS);
    const deadAfterMs = performance.now() - pausedAtMs;
    assert.ok(deadAfterMs < TTL_MS, `PostgreSQL lived on for ${deadAfterMs.toFixed(0)} ms`);
    await cluster.until('another node leads', async () => (await cluster.leader()).node !== old.node);
    await sleep(Math.max(0, 3 * TTL_MS - (performance.now() - pausedAtMs)));
  } finally {
    process.kill(old.agentPid, 'SIGCONT');
  }
  await cluster.untilInStep(30_000);
  const rejoined = (await cluster.status()).nodes.find((node) => node.node === old.node);
  assert.equal(rejoined?.role, 'follower');
  const report = await probe.stop();
  assert.deepEqual(report.lost, [], 'acknowledged writes that are missing');
});

test('etcd gone for 30 s: reads go on from followers, writes wait and go on, and nobody restarts anything', async () => {
  await cluster.query('CREATE TABLE kept(id int)');
  await cluster.query('INSERT INTO kept VALUES (1)');
  await cluster.untilInStep();
  const pidsBefore = await pids();
  const reader = await cluster.connect();
  const writer = await cluster.connect();
  await cluster.until('followers have the row', async () => (await reader.query('SELECT * FROM kept')).rowCount === 1);

  const etcd = etcdPid();
  process.kill(etcd, 'SIGSTOP');
  const stoppedAtMs = performance.now();
  let slowestReadMs = 0;
  let held: Promise<unknown> | null = null;
  try {
    while (performance.now() - stoppedAtMs < ETCD_OUTAGE_MS) {
      const startedMs = performance.now();
      assert.equal((await reader.query('SELECT * FROM kept')).rowCount, 1);
      slowestReadMs = Math.max(slowestReadMs, performance.now() - startedMs);
      // Sent when the lease is surely over, and within the hold's deadline of the end of the outage.
      if (held === null && performance.now() - stoppedAtMs > 2 * TTL_MS) {
        held = writer.query('INSERT INTO kept VALUES (2)');
        held.catch(() => {}); // told below
      }
      await sleep(20);
    }
  } finally {
    process.kill(etcd, 'SIGCONT');
  }
  await held;
  await cluster.query('INSERT INTO kept VALUES (3)');
  await cluster.untilInStep(30_000);
  assert.deepEqual((await pids()).agents, pidsBefore.agents, 'no agent was restarted');
  assert.deepEqual(
    (await cluster.query('/* leasehold: leader */ SELECT id FROM kept ORDER BY id')).map((row) => row['id']),
    [1, 2, 3],
  );
  assert.ok(slowestReadMs < 1000, `a read took ${slowestReadMs.toFixed(0)} ms`);
  await Promise.all([reader.end(), writer.end()]);
});

async function pids(): Promise<{ agents: (number | null)[] }> {
  const now = await cluster.status();
  return { agents: now.nodes.map((node) => node.agentPid) };
}

function etcdPid(): number {
  const all = [...descendants(cluster.up.pid ?? 0)];
  const found = all.find((pid) => executable(pid).endsWith('/etcd'));
  assert.ok(found !== undefined, `no etcd among the children of up: ${all.map(commandLine).join('; ')}`);
  return found;
}

function* descendants(pid: number): Generator<number> {
  for (const child of childrenOf(pid)) {
    yield child;
    yield* descendants(child);
  }
}

function executable(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}
