import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, type FinalRow } from './checker.ts';
import { type Append, type Operation, type ReadOperation, verdictOf, type WriteOperation } from './history.ts';

/** Places, values and times of a small history that is right: two sessions, one list, a transaction, a failover between 30 and 40. */
const A = append(1, 101, 1, 1, 'a');
const B = append(1, 102, 2, 1, 'a');
const C = append(1, 103, 3, 2, 'b');
const D = append(2, 104, 1, 2, 'b');
const ROWS: readonly FinalRow[] = [row(1, 1, 101), row(1, 2, 102), row(1, 3, 103), row(2, 1, 104)];
const RIGHT: readonly Operation[] = [
  write(1, 0, 10, [A]),
  read(1, 11, 12, 1, 1, 101),
  write(2, 5, 20, [B]),
  read(2, 21, 22, 1, 2, 102),
  write(1, 40, 50, [C, D]),
  read(1, 51, 52, 1, 3, 103),
  read(2, 51, 52, 1, 2, 102),
  write(3, 60, 61, [append(1, 105, 4, 2, 'b')], 'refused', '40001'),
];

test('a right history has no violation', () => {
  assert.deepEqual(check(RIGHT, ROWS), []);
});

test('an acknowledged write that is missing is found', () => {
  assert.deepEqual(rules(RIGHT, ROWS.slice(0, 2).concat(row(2, 1, 104))), ['lost', 'read-undone']);
});

test('a value that is there twice is found', () => {
  assert.deepEqual(rules(RIGHT, [...ROWS, row(2, 2, 101)]), ['changed', 'duplicate']);
});

test('a refused write that is there is found', () => {
  assert.deepEqual(rules(RIGHT, [...ROWS, row(1, 4, 105)]), ['resurrected']);
});

test('a value that nobody wrote is found', () => {
  assert.deepEqual(rules(RIGHT, [...ROWS, row(1, 4, 999)]), ['foreign']);
});

test('a write at another place than its session was told is found', () => {
  const swapped = [row(1, 2, 101), row(1, 1, 102), ...ROWS.slice(2)];
  assert.deepEqual(rules([write(1, 0, 10, [A]), write(2, 5, 20, [B]), write(1, 40, 50, [C, D])], swapped), [
    'changed',
    'changed',
  ]);
});

test('a hole in a list is found', () => {
  const unknown = write(1, 0, 10, [append(1, 101, null)], 'unknown', '08007');
  assert.deepEqual(rules([unknown], [row(1, 2, 101)]), ['gap']);
});

test('an unknown write may be there or not, but not half of it', () => {
  const pair = [append(1, 1, null), append(2, 2, null)];
  const unknown = write(1, 0, 10, pair, 'unknown', 'lost');
  assert.deepEqual(check([unknown], []), []);
  assert.deepEqual(check([unknown], [row(1, 1, 1), row(2, 1, 2)]), []);
  assert.deepEqual(rules([unknown], [row(2, 1, 2)]), ['torn']);
});

test('a write that was begun after another was acknowledged, and stands before it, is found', () => {
  const late = write(2, 30, 40, [append(1, 2, 1, 1, 'a')]);
  assert.deepEqual(rules([write(1, 0, 10, [append(1, 1, 2, 1, 'a')]), late], [row(1, 2, 1), row(1, 1, 2)]), ['order']);
  const overlapping = write(2, 5, 40, [append(1, 2, 1, 1, 'a')]);
  assert.deepEqual(check([write(1, 0, 10, [append(1, 1, 2, 1, 'a')]), overlapping], [row(1, 2, 1), row(1, 1, 2)]), []);
});

test('a session that does not see its own acknowledged write is found', () => {
  const stale = read(1, 11, 12, 1, 0, 0);
  assert.deepEqual(rules([...RIGHT.filter((each) => each.type === 'write'), stale], ROWS), ['own-write-unseen']);
  assert.deepEqual(check([...RIGHT, read(9, 11, 12, 1, 0, 0)], ROWS), [], 'another session may');
});

test('a session whose reads go back is found', () => {
  assert.deepEqual(rules([...RIGHT, read(2, 53, 54, 1, 1, 101)], ROWS), ['own-write-unseen']);
  const reader = [read(7, 23, 24, 1, 2, 102), read(7, 53, 54, 1, 1, 101)];
  assert.deepEqual(rules([...RIGHT, ...reader], ROWS), ['read-went-back']);
});

test('a session whose reads go back to before what nobody had been told of is told apart', () => {
  const slow = write(2, 5, 60, [B]);
  const reads = [read(7, 23, 24, 1, 2, 102), read(7, 53, 54, 1, 1, 101)];
  const rows = ROWS.slice(0, 2);
  assert.deepEqual(rules([write(1, 0, 10, [A]), slow, ...reads], rows), ['early-view']);
  assert.deepEqual(rules([write(1, 0, 10, [A]), write(2, 5, 40, [B]), ...reads], rows), ['read-went-back']);
});

test('a read of what is not there in the end is found', () => {
  assert.deepEqual(rules([...RIGHT, read(7, 61, 62, 1, 4, 105)], ROWS), ['read-undone']);
});

test('two servers that acknowledge on one timeline are found', () => {
  const rows = [...ROWS, row(1, 4, 106)];
  assert.deepEqual(rules([...RIGHT, write(4, 62, 63, [append(1, 106, 4, 2, 'a')])], rows), ['two-leaders']);
});

test('a commit sent to an old leader after the new one has acknowledged, and acknowledged too, is found', () => {
  const rows = [...ROWS, row(3, 1, 106)];
  assert.deepEqual(rules([...RIGHT, write(4, 55, 63, [append(3, 106, 1, 1, 'a')])], rows), ['two-leaders']);
  assert.deepEqual(check([...RIGHT, write(4, 45, 63, [append(3, 106, 1, 1, 'a')])], rows), [], 'sent before');
});

test('only 08007 and a lost connection leave the outcome open', () => {
  for (const state of ['08007', 'lost']) assert.equal(verdictOf(state), 'unknown');
  for (const state of ['40001', '25006', '57P01', '57P03', '08006', '53300']) assert.equal(verdictOf(state), 'refused');
});

function rules(operations: readonly Operation[], rows: readonly FinalRow[]): string[] {
  return check(operations, rows)
    .map(({ rule }) => rule)
    .sort();
}

function row(key: number, n: number, value: number): FinalRow {
  return { key, n, value };
}

function append(
  key: number,
  value: number,
  n: number | null,
  timeline: number | null = null,
  server: string | null = null,
): Append {
  return { key, value, n, timeline, server };
}

function write(
  session: number,
  startMs: number,
  endMs: number,
  appends: readonly Append[],
  verdict: WriteOperation['verdict'] = 'acknowledged',
  sqlState: string | null = null,
): WriteOperation {
  return { type: 'write', session, proxy: 'p', startMs, commitMs: startMs, endMs, verdict, sqlState, appends };
}

function read(session: number, startMs: number, endMs: number, key: number, n: number, value: number): ReadOperation {
  return { type: 'read', session, proxy: 'p', startMs, endMs, key, n, value, server: 'b' };
}
