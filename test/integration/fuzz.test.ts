import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fuzzBytes } from '../fuzz/bytes/campaign.ts';
import { Comparison, report } from '../fuzz/compare.ts';
import { programOf } from '../fuzz/program.ts';
import { REGRESSIONS } from '../fuzz/regressions.ts';
import { fuzzSequences } from '../fuzz/sequences.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

const FRESH_SEED = Date.now() % 1_000_000_000;
const LIMIT_MS = 8_000;

/** A short run of what `npm run fuzz` does for as long as wanted. A failure says its seed. */
describe('what nobody thought of', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 2 } } });
  });
  after(() => cluster[Symbol.asyncDispose]());

  for (const [name, items] of Object.entries(REGRESSIONS)) {
    test(`found before: ${name}`, async () => {
      await using comparison = await Comparison.open(cluster);
      const difference = await comparison.run([{ ...programOf(1, 1), items, cuts: 0 }]);
      assert.equal(difference === null ? null : report(difference), null);
    });
  }

  for (const [name, seed, sessions] of [
    ['random sequences are answered as by the server itself', 1, 1],
    ['and sequences of this moment', FRESH_SEED, 1],
    ['and those of several clients that share server connections', FRESH_SEED, 4],
  ] as const) {
    test(name, async () => {
      const found: string[] = [];
      const untilMs = performance.now() + LIMIT_MS;
      const say = (line: string): void => void found.push(line);
      await fuzzSequences(cluster, { seed, runs: 40, untilMs, sessions, stopAfter: 1, say });
      assert.deepEqual(found, []);
    });
  }

  test('bytes that nobody should send harm nobody', async () => {
    const untilMs = performance.now() + LIMIT_MS;
    const campaign = { seed: FRESH_SEED, runs: 400, untilMs, say: () => undefined };
    assert.deepEqual(await fuzzBytes(cluster, campaign), [], `seed ${FRESH_SEED}`);
  });
});
