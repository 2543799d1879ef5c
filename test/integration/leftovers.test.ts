import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { leftovers } from '../fuzz/canary.ts';
import { type Item, type Message } from '../fuzz/messages.ts';
import { play } from '../fuzz/player.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

const q = (sql: string): Message => ({ type: 'query', sql });
const simple = (...texts: string[]): Item[] => texts.flatMap((sql): Item[] => [q(sql), { type: 'wait' }]);
const parse = (sql: string): Message => ({ type: 'parse', name: '', sql, oids: [] });
const BIND: Message = { type: 'bind', portal: '', statement: '', formats: [], values: [], results: [] };
const EXECUTE: Message = { type: 'execute', portal: '', maxRows: 0 };
const SYNC: Item[] = [{ type: 'sync' }, { type: 'wait' }];

/** Each was found by the fuzzer, or is next to what it found. The client leaves right behind the last of it. */
const VISITS: Readonly<Record<string, readonly Item[]>> = {
  'SET SESSION CHARACTERISTICS': simple('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
  'SET SESSION CHARACTERISTICS in the extended protocol': [
    parse('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
    BIND,
    EXECUTE,
    ...SYNC,
  ],
  'SET behind a ROLLBACK TO that took one back': simple(
    'BEGIN',
    'SAVEPOINT a',
    "SET work_mem = '3MB'",
    'ROLLBACK TO a',
    'SET enable_seqscan = off',
    'COMMIT',
  ),
  'SET behind a ROLLBACK in one text': simple("BEGIN; SET work_mem = '3MB'; ROLLBACK; SET enable_seqscan = off"),
  'SET in a query behind unsynced messages': [parse('SELECT 1'), q('SET enable_seqscan = off'), { type: 'wait' }],
  'SET in a query behind a Flush': [
    parse('SELECT 1'),
    { type: 'flush' },
    { type: 'wait' },
    q('SET enable_seqscan = off'),
    { type: 'wait' },
  ],
  'LISTEN in a query behind unsynced messages': [parse('SELECT 1'), q('LISTEN channel'), { type: 'wait' }],
  'LISTEN in a query behind a Flush': [
    parse('SELECT 1'),
    { type: 'flush' },
    { type: 'wait' },
    q('LISTEN channel'),
    { type: 'wait' },
  ],
};

describe('a client finds nothing of those who had its server connection before', () => {
  let cluster: ProxyCluster;
  let clean: string;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 1 } } });
    clean = await leftovers(cluster.port);
  });
  after(() => cluster[Symbol.asyncDispose]());

  for (const [name, items] of Object.entries(VISITS)) {
    test(name, async () => {
      await play({ session: 0, topics: [], setup: [], items, cuts: 0 }, cluster.port, 5_000);
      const found = await leftovers(cluster.port);
      if (found !== clean) await dropConnections(cluster);
      assert.equal(found, clean);
    });
  }

  test('nor a setting that was rolled back where it has the same one', async () => {
    const zone = "SET TimeZone = 'Asia/Tokyo'";
    const visit = (items: Item[]) => play({ session: 0, topics: [], setup: [], items, cuts: 0 }, cluster.port, 5_000);
    await visit(simple('BEGIN', 'SELECT 1', zone, 'ROLLBACK'));
    const { lines } = await visit(simple(zone, "/* leasehold: leader */ SELECT current_setting('TimeZone')"));
    assert.ok(
      lines.some((line) => line.startsWith('D ') && line.includes('Asia/Tokyo')),
      lines.join('\n'),
    );
  });
});

async function dropConnections(cluster: ProxyCluster): Promise<void> {
  for (const node of cluster.nodes.keys()) {
    await cluster.sql(node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
  }
}
