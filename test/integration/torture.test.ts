import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { commandLine } from '../support/processes.ts';
import type { FaultName } from '../torture/plan.ts';
import { printReport } from '../torture/report.ts';
import { torture } from '../torture/run.ts';

/** Faults that are over soon, in the leader's way; with a network that can be cut, cuts too. `npm run torture` has all of them, and time. */
const SHORT: readonly FaultName[] = ['kill-postmaster', 'kill-proxy', 'pause-guards', 'switchover', 'isolate-node'];
const SEED = 2;
const ROUNDS = 4;

test('a short torture: nothing acknowledged is lost, nothing refused appears, no session goes back, all nodes end equal', async (t) => {
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(line);
  const clients = { writers: 6, readers: 4 };
  const bounds = { minutes: Infinity, rounds: ROUNDS };
  const report = await torture({ seed: SEED, ttlMs: 3000, only: SHORT, ...clients, ...bounds, say }, t.signal);
  for (const what of report.leftOut) t.diagnostic(`left out: ${what}`);
  const story = `${lines.join('\n')}\n${printReport(report)}`;
  assert.deepEqual(report.violations, [], story);
  assert.deepEqual(report.problems, [], story);
  assert.equal(report.rounds, ROUNDS);
  assert.ok(report.term > 1, 'no leader was lost: the seed is a poor one');
  assert.deepEqual(leftovers(), [], 'processes or namespaces were left behind');
});

/** Of runs of this very process. */
function leftovers(): string[] {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const processes = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return [
    ...namespaces.filter((name) => name.startsWith(`lhtort${process.pid}-`)),
    ...processes
      .map((pid) => commandLine(Number(pid)))
      .filter((line) => line.includes(`leasehold-torture-${process.pid}-`)),
  ];
}
