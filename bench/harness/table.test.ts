import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allCells, type SideName } from './matrix.ts';
import type { Figures } from './pgbench-run.ts';
import { type Run, toJson } from './results.ts';
import { toMarkdown, withSpread } from './table.ts';

const figures = (perSecond: number, cpuUs: number | null, failed = 0): Figures => ({
  perSecond,
  cpuUs,
  failed,
  bytesPerSecond: null,
  residentBytes: null,
  latency: { p50: 1, p99: 2, p999: 3 },
});
const cell = allCells().find(({ id }) => id === 'read-simple-64');
const run: Run = {
  startedAt: 'today',
  command: 'npm run bench',
  rounds: 2,
  seconds: 3,
  facts: [['processor', 'some']],
  commands: [],
  results: [
    {
      cell: cell ?? assert.fail(),
      figures: new Map<SideName, Figures[]>([
        ['pgbouncer', [figures(1000, 20), figures(2000, 22)]],
        ['leasehold', [figures(1500, 10), figures(3000, 11, 4)]],
      ]),
      errors: new Map<SideName, string>([['odyssey', 'it did not start\nmore']]),
    },
  ],
};

test('the table has medians with their spread, ratios of the same round, and what went wrong', () => {
  const text = toMarkdown(run, ['a.svg']);
  assert.match(text, /\| Leasehold, leader \| 2,250 \(1,500–3,000\) \| 1\.50 \| 10\.5 \(10\.0–11\.0\) \| 1\.000 \|/);
  assert.match(text, /Odyssey: no figures\. it did not start\n/);
  assert.match(text, /Leasehold, leader: 4 transactions failed/);
  assert.match(text, /!\[a\.svg\]\(a\.svg\)/);
});

test('one figure has no spread, and no figure is nothing', () => {
  assert.equal(withSpread({ median: 1.5, least: 1.5, most: 1.5 }, 1), '1.5');
  assert.equal(withSpread(null, 1), '');
});

test('the JSON has every round', () => {
  const parsed = JSON.parse(toJson(run)) as { results: { sides: Record<string, { perSecond: number }[]> }[] };
  assert.deepEqual(
    parsed.results[0]?.sides['leasehold']?.map((each) => each.perSecond),
    [1500, 3000],
  );
});
