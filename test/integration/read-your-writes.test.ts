import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';

/** Followers that replay 300 ms late: the split must not show it to a session that wrote. */
const APPLY_DELAY = '300ms';
const WRITES = 10_000;
const SESSIONS = 20;
let cluster: LocalCluster;

before(async () => {
  cluster = await startLocalCluster();
  for (const node of (await cluster.status()).nodes) await setApplyDelay(node.address);
});
after(() => cluster?.stop());

test('a session that writes a row and reads it back always sees it, while others’ reads stay on the followers', async () => {
  await cluster.query('CREATE TABLE own(session int, id int, PRIMARY KEY (session, id))');
  const leader = (await cluster.leader()).node;
  const background = startBackgroundReaders(4);
  const missed = (
    await Promise.all(Array.from({ length: SESSIONS }, (_, session) => writeAndReadBack(session)))
  ).flat();
  const readsOf = await background.stop();
  assert.deepEqual(missed, [], 'rows that their own session did not see');

  const total = [...readsOf.values()].reduce((sum, count) => sum + count, 0);
  assert.ok(total > 100, `the readers were busy (${total} reads)`);
  assert.ok((readsOf.get(leader) ?? 0) < total / 100, `${readsOf.get(leader)} of ${total} reads went to the leader`);
});

async function writeAndReadBack(session: number): Promise<string[]> {
  const client = await cluster.connect();
  const missed: string[] = [];
  for (let id = 0; id < WRITES / SESSIONS; id++) {
    await client.query('INSERT INTO own VALUES ($1, $2)', [session, id]);
    const { rows } = await client.query('SELECT id FROM own WHERE session = $1 AND id = $2', [session, id]);
    if (rows.length !== 1) missed.push(`${session}/${id}`);
  }
  await client.end();
  return missed;
}

/** Sessions that only read: which node served each read is told by the port that the server listens on. */
function startBackgroundReaders(count: number): { stop(): Promise<Map<string, number>> } {
  const served = new Map<string, number>();
  let running = true;
  const read = async (): Promise<void> => {
    const nodes = new Map((await cluster.status()).nodes.map((node) => [portOf(node.address), node.node]));
    const client = await cluster.connect();
    while (running) {
      // Read from a plain table function, not a node-describing one, so that it routes as any other read.
      const { rows } = await client.query("SELECT setting::int AS port FROM pg_settings WHERE name = 'port'");
      const node = nodes.get(Number((rows[0] as { port: number }).port)) ?? 'unknown';
      served.set(node, (served.get(node) ?? 0) + 1);
    }
    await client.end();
  };
  const done = Promise.all(Array.from({ length: count }, read));
  return {
    stop: async () => {
      running = false;
      await done;
      return served;
    },
  };
}

async function setApplyDelay(address: string): Promise<void> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: portOf(address),
    user: 'postgres',
    password: 'postgres',
    database: 'postgres',
  });
  await client.connect();
  await client.query(`ALTER SYSTEM SET recovery_min_apply_delay = '${APPLY_DELAY}'`);
  await client.query('SELECT pg_reload_conf()');
  await client.end();
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
