import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';

/** Followers serve only if their agents say that they follow the leader of the term: after each change of it they must be back soon. */
let cluster: LocalCluster;

before(async () => {
  cluster = await startLocalCluster();
});
after(() => cluster?.stop());

test('after a switchover both followers serve reads of the new term, and the leader none', async () => {
  const old = await cluster.leader();
  const { status, output } = await cluster.cli('switchover');
  assert.equal(status, 0, output);
  await cluster.until('another node leads', async () => (await cluster.leader()).node !== old.node);
  await assertFollowersServe();
});

test('after a crash of the leader the other follower serves at once, and the old leader when it follows again', async () => {
  const old = await cluster.leader();
  assert.ok(old.postgresPid !== null);
  process.kill(old.postgresPid, 'SIGKILL');
  await cluster.until('another node leads', async () => {
    const now = await cluster.status();
    return now.leader !== null && now.leader.node !== old.node && now.writable;
  });
  const writableAtMs = performance.now();
  const before_ = await served();
  const leader = (await cluster.leader()).node;
  const client = await cluster.connect();
  try {
    await cluster.until('a follower serves', async () => {
      await client.query('SELECT 1');
      return [...(await served())].some(([node, count]) => node !== leader && count > (before_.get(node) ?? 0));
    });
  } finally {
    await client.end();
  }
  process.stdout.write(`# a follower serves ${(performance.now() - writableAtMs).toFixed(0)} ms after writes go on\n`);
  await assertFollowersServe();
});

/** Reads spread over both followers, and stay off the leader, once the cluster is in step. */
async function assertFollowersServe(): Promise<void> {
  await cluster.untilInStep(30_000);
  const leader = (await cluster.leader()).node;
  const before_ = await served();
  const clients = await Promise.all(Array.from({ length: 8 }, () => cluster.connect()));
  try {
    await cluster.until('both followers serve', async () => {
      await Promise.all(clients.map((client) => client.query('SELECT 1')));
      await sleep(5);
      const now = await served();
      const more = [...now].filter(([node, count]) => node !== leader && count - (before_.get(node) ?? 0) >= 20);
      return more.length === 2;
    });
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
  const after_ = await served();
  const total = [...after_].reduce((sum, [node, count]) => sum + count - (before_.get(node) ?? 0), 0);
  const onLeader = (after_.get(leader) ?? 0) - (before_.get(leader) ?? 0);
  assert.ok(onLeader * 5 < total, `${onLeader} of ${total} reads went to the leader`);
}

async function served(): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${cluster.httpPort}/metrics`)).text();
  const counts = new Map<string, number>();
  for (const [, labels, value] of text.matchAll(/^leasehold_statements_total\{([^}]*)\} (\d+)/gm)) {
    const node = /node="([^"]*)"/.exec(labels ?? '')?.[1] ?? '';
    if (/class="read"/.test(labels ?? '')) counts.set(node, (counts.get(node) ?? 0) + Number(value));
  }
  return counts;
}
