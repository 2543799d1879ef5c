import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { World } from './world.ts';

const GOLDEN = new URL('failover.golden.txt', import.meta.url);

/** Three nodes at rest; the leader's postmaster is killed. Returns what each node did from then on, without times. */
function plainFailover(): { readonly script: string; readonly outageMs: number } {
  const world = new World(GOLDEN_SEED, { traceLines: 2000 });
  for (const node of world.nodes.values()) node.startAgent();
  world.runUntil(10_000);
  const leader = [...world.nodes.values()].find((n) => n.postgres.acceptsWrites);
  assert.ok(leader !== undefined, `nobody leads after ten seconds\n${world.trace.last(100)}`);
  world.trace.add('FAULT', `postmaster of ${leader.name} killed`);
  const killedMs = world.scheduler.nowMs;
  leader.postgres.die('kill -9');
  const term = world.checks.highestTerm;
  const again = () => world.checks.highestTerm > term && world.checks.lastAckMs > killedMs;
  assert.ok(world.runUntil(20_000, again), `no write within ten seconds\n${world.trace.last(100)}`);
  const outageMs = world.scheduler.nowMs - killedMs;
  world.runUntil(killedMs + 8000);
  const lines = world.trace.last(2000).split('\n');
  const from = lines.findIndex((line) => line.includes('FAULT'));
  const script = lines.slice(from).map((line) => line.slice(10).trimEnd());
  assert.deepEqual(
    world.checks.differences().filter((d) => !d.includes('entries') && !d.includes('replayed')),
    [],
  );
  return { script: `${script.join('\n')}\n`, outageMs };
}

// Three nodes (not five), clocks that hardly drift.
const GOLDEN_SEED = 11;

// After an intended change: LEASEHOLD_UPDATE_GOLDEN=1, and read the difference.
test('a plain failover goes as written in failover.golden.txt', (t) => {
  const { script, outageMs } = plainFailover();
  t.diagnostic(`${outageMs.toFixed(0)} ms of virtual time from the kill to the next acknowledged write`);
  if (process.env['LEASEHOLD_UPDATE_GOLDEN'] === '1') writeFileSync(GOLDEN, script);
  assert.equal(script, readFileSync(GOLDEN, 'utf8'));
  assert.ok(outageMs < 1000);
});
