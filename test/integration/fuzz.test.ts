import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fuzzBytes } from '../fuzz/bytes/campaign.ts';
import { Comparison, report } from '../fuzz/compare.ts';
import { programOf } from '../fuzz/program.ts';
import { REGRESSIONS } from '../fuzz/regressions.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

const FRESH_SEED = Date.now() % 1_000_000_000;
const LIMIT_MS = 8_000;

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

  test('bytes that nobody should send harm nobody', async () => {
    const untilMs = performance.now() + LIMIT_MS;
    const campaign = { seed: FRESH_SEED, runs: 400, untilMs, say: () => undefined };
    assert.deepEqual(await fuzzBytes(cluster, campaign), [], `seed ${FRESH_SEED}`);
  });
});
