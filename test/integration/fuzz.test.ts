import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fuzzBytes } from '../fuzz/bytes/campaign.ts';
import { Comparison, report } from '../fuzz/compare.ts';
import { programOf } from '../fuzz/program.ts';
import { REGRESSIONS } from '../fuzz/regressions.ts';
import { programsOf } from '../fuzz/sequences.ts';
import { bind, execute, query, SYNC } from '../../proxy/wire/encode.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';

const FRESH_SEED = Date.now() % 1_000_000_000;
const LIMIT_MS = 8_000;
/** Name, first seed, how many programs, and how many clients at once share the server connections. Fresh seeds are `npm run fuzz`'s. */
const SEQUENCES: readonly (readonly [string, number, number, number])[] = [
  ['one client at a time', 1_000_000, 30, 1],
  ['three clients at once', 2_000_000, 12, 3],
];

/** A short run of what `npm run fuzz` does for as long as wanted. A failure says its seed. */
describe('what nobody thought of', () => {
  let cluster: ProxyCluster;
  let comparison: Comparison;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 2 } } });
    comparison = await Comparison.open(cluster);
  });
  after(async () => {
    await comparison[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  for (const [name, items] of Object.entries(REGRESSIONS)) {
    test(`found before: ${name}`, async () => {
      const difference = await comparison.run([{ ...programOf(1, 1), items, cuts: 0 }]);
      assert.equal(difference === null ? null : report(difference), null);
    });
  }

  for (const [which, seed, count, sessions] of SEQUENCES) {
    test(`random sequences are answered as by the server itself: ${which}`, async () => {
      for (let at = seed; at < seed + count; at++) {
        const difference = await comparison.run(programsOf(at, sessions));
        const again = `npm run fuzz -- --seed ${at} --runs 1 --sessions ${sessions}`;
        assert.equal(difference === null ? null : report(difference), null, again);
      }
    });
  }

  test('a portal that a failed query left in a failed transaction is not there: executing it may crash the server', async () => {
    await using witness = await RawClient.connect({ port: cluster.node(cluster.leader).port });
    const failing = "DO $$ BEGIN RAISE 'failed' USING ERRCODE = 'U0001'; END $$";
    for (const executed of [[execute('')], [bind('', 'nosuch'), SYNC, execute('')]]) {
      await using client = await RawClient.connect(cluster);
      client.send(query('BEGIN'), query(failing), ...executed, SYNC, query('ROLLBACK'));
      const heard = await client.read('Z', executed.length === 1 ? 4 : 5);
      assert.ok(heard.includes('E|ERROR|34000|portal "" does not exist||'), heard.join('\n'));
      assert.equal(heard.at(-1), 'Z|"I"');
    }
    witness.send(query('SELECT 1'));
    assert.equal((await witness.read('Z')).at(-1), 'Z|"I"');
  });

  test('bytes that nobody should send harm nobody', async () => {
    const untilMs = performance.now() + LIMIT_MS;
    const campaign = { seed: FRESH_SEED, runs: 400, untilMs, say: () => undefined };
    assert.deepEqual(await fuzzBytes(cluster, campaign), [], `seed ${FRESH_SEED}`);
  });
});
