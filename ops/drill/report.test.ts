import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Attempt, type CanaryResult, isUnknown } from './canary.ts';
import { buildReport, longestGap, reportText } from './report.ts';

function attempts(...rows: [endedMs: number, outcome: string][]): Attempt[] {
  return rows.map(([endedMs, outcome], index) => ({ id: index + 1, sentMs: endedMs - 1, endedMs, outcome }));
}

const writes = attempts(
  [10, 'acknowledged'],
  [100, 'acknowledged'],
  [110, '08007'],
  [400, 'acknowledged'],
  [410, 'acknowledged'],
);
const canary: CanaryResult = {
  writes,
  reads: attempts([100, 'acknowledged'], [120, 'acknowledged']),
  reconnects: 0,
  missing: [],
  unknownFound: 1,
  refusedFound: [],
};

test('the stall runs from the last acknowledged write before the gap to the next', () => {
  assert.equal(longestGap(writes, 105), 300);
  assert.equal(longestGap(attempts([10, 'acknowledged'], [50, '57P03']), 20), null);
});

test('a drill passes when nothing is missing, writes resumed and the old leader is back', () => {
  const facts = { crashedNode: 'node1', newLeader: 'node2', crashedAtMs: 105, backAtMs: 2105, canary };
  const report = buildReport(facts);
  assert.equal(report.passed, true);
  assert.equal(report.writeStallMs, 300);
  assert.equal(report.backMs, 2000);
  assert.deepEqual(report.writeErrors, { '08007': 1 });
  const text = reportText(report);
  assert.match(text, /300 ms from the last acknowledged write/);
  assert.match(text, /4, looked up one by one: all there/);
  assert.match(text, /the drill passed/);
});

test('a missing acknowledged write, or a refused one that is there, fails the drill', () => {
  const facts = { crashedNode: 'node1', newLeader: 'node2', crashedAtMs: 105, backAtMs: 2105 };
  assert.equal(buildReport({ ...facts, canary: { ...canary, missing: [2] } }).passed, false);
  assert.equal(buildReport({ ...facts, canary: { ...canary, refusedFound: [3] } }).passed, false);
  assert.match(reportText(buildReport({ ...facts, backAtMs: null, canary })), /NOT back yet[\s\S]*FAILED/);
});

test('a broken connection and class 08 leave the outcome open, other SQLSTATEs do not', () => {
  assert.deepEqual(['ECONNRESET', 'connection lost', '08007', '08006'].map(isUnknown), [true, true, true, true]);
  assert.deepEqual(['40001', '57P03', 'acknowledged'].map(isUnknown), [false, false, false]);
});
