import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { AgentCluster, TTL_MS } from './election-support.ts';
import { connect, Writer } from './election-writer.ts';

/** What users are promised is asserted by failover-under-load; here only that nothing waits for a time-out, on a busy machine. */
const SLACK_MS = 3000;
let cluster: AgentCluster;
let writer: Writer | null = null;

/** Starts writing, and gives the term and the leader that stand now. */
async function underLoad() {
  await cluster.untilInStep();
  const { term } = cluster.view;
  const old = cluster.leader;
  writer = new Writer(() => cluster.openRoute);
  const { acknowledged } = writer;
  await cluster.until('writes go on', () => (writer?.acknowledged ?? 0) > acknowledged + 50, 10_000);
  writer.resetStall();
  return { term: term.value, old };
}

/** Waits until another term's leader is open and the writes go on, then until all nodes are in step again. */
async function recovered(what: string, afterTerm: bigint) {
  const startedMs = performance.now();
  await cluster.until('a new open route', () => (cluster.openRoute?.term ?? 0n) > afterTerm, 30_000);
  const before = writer?.acknowledged ?? 0;
  await cluster.until('writes go on', () => (writer?.acknowledged ?? 0) > before + 10, 10_000);
  await cluster.untilInStep(afterTerm, 30_000);
  await onlyTheLeaderIsFollowed();
  const inStepMs = performance.now() - startedMs;
  const report = await (writer as Writer).stop();
  writer = null;
  const stall = report.longestStallMs.toFixed(0);
  console.log(
    `# ${what}: writes stood still ${stall} ms, all in step after ${inStepMs.toFixed(0)} ms, ${report.acknowledged} acknowledged`,
  );
  assert.deepEqual(report.lost, [], 'acknowledged writes that are lost');
  return report;
}

/** E15: all followers stream (they are in step); each by a slot of this term, and nobody else admits a follower. */
async function onlyTheLeaderIsFollowed() {
  const { leader } = cluster;
  for (const { node, port } of cluster.agents.values()) {
    if (node === leader.node) continue;
    await assert.rejects(replicate(port), { code: '28000' }, `${node} follows, and admits a follower`);
  }
  await replicate(cluster.agent(leader.node).port);
  const client = await connect(cluster.openRoute as never);
  const { rows } = await client.query('SELECT slot_name, active FROM pg_replication_slots ORDER BY 1');
  await client.end();
  const others = [...cluster.agents.keys()].filter((node) => node !== leader.node).sort();
  const expected = others.map((n) => ({ slot_name: `leasehold_t${leader.term}_${n.replace('-', '_')}`, active: true }));
  assert.deepEqual(rows, expected);
}

/** As a follower's WAL receiver logs in. */
async function replicate(port: number) {
  const login = { user: 'leasehold_replication', password: 'replication', replication: 'true' };
  const client = new pg.Client({ host: '127.0.0.1', port, ...login } as object);
  client.on('error', () => {});
  await client.connect();
  await client.query('IDENTIFY_SYSTEM');
  await client.end();
}

describe('three agents on real PostgreSQL and etcd', () => {
  before(async () => {
    const startedMs = performance.now();
    cluster = await AgentCluster.start(['node-a', 'node-b', 'node-c']);
    await cluster.until('a first open route', () => cluster.openRoute !== null, 30_000);
    const openMs = performance.now() - startedMs;
    await cluster.untilInStep();
    console.log(
      `# bootstrap: open after ${openMs.toFixed(0)} ms, all in step after ${(performance.now() - startedMs).toFixed(0)} ms`,
    );
    const client = await connect(cluster.openRoute as never);
    await client.query('CREATE TABLE written(id int PRIMARY KEY)');
    await client.end();
  });

  afterEach(async () => {
    await writer?.stop().catch(() => {});
    writer = null;
  });

  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  test('the node’s API tells what it is in plain JSON', async () => {
    const status = await cluster.status(cluster.leader.node);
    assert.equal((status['mode'] as { kind: string }).kind, 'LEADER_OPEN');
    assert.equal((status['member'] as { node: string }).node, cluster.leader.node);
    assert.match((status['sample'] as { flushedLsn: string }).flushedLsn, /^[0-9A-F]+\/[0-9A-F]+$/);
  });

  test('the leader’s postmaster is killed: another node leads soon, and the old one follows it', async () => {
    const { term, old } = await underLoad();
    process.kill(old.postgresPid as number, 'SIGKILL');
    const { longestStallMs } = await recovered('postmaster killed', term);
    assert.ok(longestStallMs < SLACK_MS, `${longestStallMs}`);
    assert.notEqual(cluster.leader.node, old.node);
  });

  test('agent and PostgreSQL of the leader are killed: another node leads when the lease is over', async () => {
    const { term, old } = await underLoad();
    process.kill(old.agentPid, 'SIGKILL');
    process.kill(old.postgresPid as number, 'SIGKILL');
    await sleep(500);
    cluster.restart(old.node);
    const { longestStallMs } = await recovered('agent and postmaster killed', term);
    assert.ok(longestStallMs < TTL_MS + SLACK_MS, `${longestStallMs}`);
    assert.notEqual(cluster.leader.node, old.node);
  });

  test('a planned switchover to a named node', async () => {
    const { term, old } = await underLoad();
    const target = [...cluster.agents.keys()].find((node) => node !== old.node) as string;
    await cluster.requestSwitchover(target);
    const { longestStallMs } = await recovered('switchover', term);
    assert.equal(cluster.leader.node, target);
    assert.equal(cluster.view.switchover, null);
    assert.equal(cluster.view.history.at(-1)?.reason, 'switchover');
    assert.ok(longestStallMs < SLACK_MS, `${longestStallMs}`);
  });

  test('settings of the cluster are in force on every agent without a restart', async () => {
    await cluster.untilInStep();
    const seen = (version: number) => [...cluster.view.members.values()].every((m) => m.rules?.version === version);
    await cluster.putSettings(1, { syncAcks: 2 });
    await cluster.until('each commit is on two', () => cluster.view.sync?.record.k === 2 && seen(1), 10_000);
    const client = await connect(cluster.openRoute as never);
    const { rows } = await client.query('SHOW synchronous_standby_names');
    assert.match(String(rows[0]?.synchronous_standby_names), /^ANY 2 /);
    await client.end();
    await cluster.putSettings(2, {});
    await cluster.until('each commit is on one again', () => cluster.view.sync?.record.k === 1 && seen(2), 10_000);
  });

  test('a failover asked of the leader', async () => {
    const { term, old } = await underLoad();
    await cluster.ask(old.node, '/failover');
    await recovered('failover asked for', term);
    assert.notEqual(cluster.leader.node, old.node);
  });

  test('the leader’s agent is stopped for three lease times: PostgreSQL is dead before the deadline', async () => {
    const { term, old } = await underLoad();
    process.kill(old.agentPid, 'SIGSTOP');
    const stoppedAtMs = performance.now();
    try {
      const deadMs = await cluster.until('its PostgreSQL is dead', () => !isAlive(old.postgresPid as number), TTL_MS);
      console.log(`# PostgreSQL of the stopped agent dead after ${deadMs.toFixed(0)} ms`);
      await cluster.until('a new open route', () => (cluster.openRoute?.term ?? 0n) > term, 10_000);
      await sleep(Math.max(0, 3 * TTL_MS - (performance.now() - stoppedAtMs)));
    } finally {
      process.kill(old.agentPid, 'SIGCONT');
    }
    const { longestStallMs } = await recovered('agent stopped', term);
    assert.ok(longestStallMs < TTL_MS + SLACK_MS, `${longestStallMs}`);
  });

  test('etcd is stopped for three lease times: nobody leads meanwhile, then the cluster goes on by itself', async () => {
    const { old } = await underLoad();
    await cluster.etcd.stop();
    await cluster.until('PostgreSQL of the leader is dead', () => !isAlive(old.postgresPid as number), TTL_MS);
    const followers = [...cluster.agents.keys()].filter((node) => node !== old.node);
    await sleep(3 * TTL_MS);
    for (const node of followers) {
      const client = await connect({ address: { host: '127.0.0.1', port: cluster.agent(node).port } });
      await client.query('SELECT count(*) FROM written');
      await client.end();
    }
    await cluster.etcd.start();
    await recovered('etcd stopped', old.term);
    for (const { child } of cluster.agents.values()) assert.equal(child.exitCode, null, 'no agent ended');
  });

  test('an agent that is asked to stop hands over, stops PostgreSQL and ends with 0', async () => {
    const { term, old } = await underLoad();
    const startedMs = performance.now();
    assert.equal(await cluster.stop(old.node), 0);
    console.log(`# orderly stop of the leader took ${(performance.now() - startedMs).toFixed(0)} ms`);
    assert.equal(isAlive(old.postgresPid as number), false);
    await cluster.until('its key is gone', () => !cluster.view.members.has(old.node), 1000);
    await cluster.until('a new open route', () => (cluster.openRoute?.term ?? 0n) > term, TTL_MS + 1000);
    cluster.restart(old.node);
    await recovered('agent told to stop', term);
  });
});

/** A process that is dead but not yet waited for (its parent may be stopped) is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
