import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { AgentCluster } from './election-support.ts';
import { connect } from './election-writer.ts';

let cluster: AgentCluster;

async function sql(text: string): Promise<Record<string, unknown>[]> {
  const client = await connect(cluster.openRoute as never);
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

/** The machine is gone: agent and PostgreSQL at once. */
async function lose(node: string): Promise<void> {
  const { postgresPid } = cluster.view.members.get(node) ?? {};
  cluster.agent(node).child.kill('SIGKILL');
  if (typeof postgresPid === 'number') process.kill(postgresPid, 'SIGKILL');
  await cluster.until(`${node} is gone`, () => !cluster.view.members.has(node), 10_000);
}

describe('both followers are lost, then the leader', () => {
  before(async () => {
    cluster = await AgentCluster.start(['node-a', 'node-b', 'node-c']);
    await cluster.untilInStep();
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  test('who returns waits, says the way out, and leads when an operator says so; what it lacked is kept', async () => {
    const old = cluster.leader;
    const [first, second] = [...cluster.agents.keys()].filter((node) => node !== old.node) as [string, string];
    await sql('CREATE TABLE kept(id int PRIMARY KEY)');
    await sql('INSERT INTO kept VALUES (1)');
    const refused = await cluster.tryAsk(first, '/failover/forced', { by: 'the test' });
    assert.equal(refused.status, 409);
    assert.match(refused.message, new RegExp(`${old.node} holds the lease`));

    await Promise.all([lose(first), lose(second)]);
    await cluster.until('the leader goes on alone', () => cluster.view.sync?.record.k === 0, 10_000);
    await sql('INSERT INTO kept VALUES (2)');
    await lose(old.node);
    cluster.restart(first);
    const note = () => cluster.view.members.get(first)?.note ?? '';
    await cluster.until('the way out is said', () => note().includes('--allow-data-loss'), 30_000);
    assert.match(note(), new RegExp(`only ${old.node} holds everything.*failover --allow-data-loss --node ${first}`));

    const { term } = cluster.view;
    const begun = await cluster.tryAsk(first, '/failover/forced', { by: 'the test' });
    assert.equal(begun.status, 200, begun.message);
    await cluster.until('it leads', () => (cluster.openRoute?.term ?? 0n) > term.value, 10_000);
    assert.equal(cluster.leader.node, first);
    const record = cluster.view.history.at(-1);
    assert.equal(record?.reason, 'forced');
    assert.match(record.detail ?? '', new RegExp(`the test consented.*away: .*${old.node}`));
    await sql('INSERT INTO kept VALUES (3)');
    assert.deepEqual(
      (await sql('SELECT id FROM kept ORDER BY id')).map((r) => r['id']),
      [1, 3],
    );

    cluster.restart(second);
    cluster.restart(old.node);
    await cluster.untilInStep(term.value, 60_000);
    const kept = join(`${cluster.agent(old.node).dataDir}.leasehold`, 'kept');
    assert.deepEqual(readdirSync(kept), [`term-${record.term}`]);
    assert.equal(readFileSync(join(kept, `term-${record.term}`, 'PG_VERSION'), 'utf8').trim().length > 0, true);
    // The other one was no further than the new leader: it followed, and nothing of it had to be kept.
    assert.equal(existsSync(join(`${cluster.agent(second).dataDir}.leasehold`, 'kept')), false);
  });
});
