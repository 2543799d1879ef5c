import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Measurement } from './measure.ts';
import { renderReport } from './report.ts';

const one = (side: string, run: number, stallMs: number | null, more: Partial<Measurement> = {}): Measurement => ({
  side,
  scenario: 'crash',
  run,
  stallMs,
  stallOfAllMs: null,
  errors: {},
  reconnects: 0,
  acknowledged: 100,
  lost: 0,
  observed: null,
  ...more,
});
const report = (measurements: readonly Measurement[]) =>
  renderReport({
    command: 'npm run bench:failover',
    startedAt: 'now',
    minutes: 1,
    machine: 'one',
    versions: 'two',
    load: '0',
    sides: [
      { name: 'ours', about: 'x' },
      { name: 'peer', about: 'y' },
    ],
    measurements,
  });

test('a side has its distribution, each run, and the ratio of its median to ours', () => {
  const text = report([
    one('ours', 1, 200),
    one('ours', 2, 300),
    one('peer', 1, 2500, { errors: { ECONNRESET: 2 }, reconnects: 1 }),
  ]);
  assert.match(text, /\| ours \| 2 \| 200 \| 250 \| 300 \| 300 \|  \| none \| 0 \| 200 \| 0 \|/);
  assert.match(
    text,
    /\| peer \| 1 \| 2500 \| 2500 \| 2500 \| 2500 \| 10\.0 × \| 2: 2 × ECONNRESET \| 1 \| 100 \| 0 \|/,
  );
  assert.match(text, /- ours: 200, 300/);
  assert.match(text, /300 of them, lost: 0/);
});

test('a run whose writes never went on is not left out of sight', () => {
  const text = report([one('ours', 1, 200), one('ours', 2, null)]);
  assert.match(text, /2 \(1 without an end\)/);
  assert.match(text, /- ours: 200, no end/);
});

test('lost writes and phases are told', () => {
  const text = report([
    one('ours', 1, 200, { lost: 3, observed: { phases: { detectionMs: 40, fenceMs: null }, timeline: [] } }),
  ]);
  assert.match(text, /lost: 3\./);
  assert.match(text, /detection 40 ms \(at most 40\)/);
});

test('in a switchover our unluckiest client is compared with the time in which a peer served nobody', () => {
  const run = (side: string, stallMs: number, stallOfAllMs: number): Measurement =>
    one(side, 1, stallMs, { scenario: 'switchover', stallOfAllMs });
  const text = report([run('ours', 400, 300), run('peer', 9000, 4000)]);
  assert.match(text, /\| ours, the unluckiest client \| 1 \| 400 /);
  assert.match(text, /\| ours, no client served \| 1 \| 300 \| 300 \| 300 \| 300 \|  \|/);
  assert.match(text, /\| peer, no client served \| 1 \| 4000 \| 4000 \| 4000 \| 4000 \| 10\.0 × \|/);
});
