import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTicks, processorMs } from './process-usage.ts';

test('user and system time are read behind a name with spaces and brackets', () => {
  const stat = '42 (a (b) c) S 1 42 42 0 -1 4194304 10 0 0 0 120 34 5 6 20 0 1 0 100 1000 100';
  assert.equal(parseTicks(stat), 154);
});

test('processor time grows with work', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
  const before = processorMs(process.pid);
  const until = process.cpuUsage().user + 60_000;
  while (process.cpuUsage().user < until);
  assert.ok(processorMs(process.pid) >= before + 20);
});
