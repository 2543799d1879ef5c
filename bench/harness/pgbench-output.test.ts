import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFailures, parseLatency, parseProgress, parseRate } from './pgbench-output.ts';

test('a line of progress gives its moment and its rate', () => {
  const line = 'progress: 2.0 s, 27003.1 tps, lat 2.101 ms stddev 0.400, 0 failed';
  assert.deepEqual(parseProgress(line), { seconds: 2, perSecond: 27003.1 });
  assert.equal(parseProgress('pgbench (15.18)'), null);
});

test('latencies are taken from all threads, without failed transactions and without those of the start', () => {
  const early = '0 1 99000 0 1700000000 000000\n';
  const logs = [`${early}0 2 1000 0 1700000001 500000\n`, '1 1 3000 0 1700000002 1\n1 2 failed 0 1700000002 2\n'];
  assert.deepEqual(parseLatency(logs, 1_700_000_001_000), { p50: 1, p99: 3, p999: 3 });
  assert.equal(parseLatency([early], 1_700_000_001_000), null);
});

test('the rate of the whole run is read from its end', () => {
  assert.equal(parseRate('latency average = 1 ms\ntps = 12345.6 (without initial connection time)\n'), 12345.6);
  assert.equal(parseRate('nothing'), null);
});

test('failed transactions and clients that gave up are seen', () => {
  const text = 'number of failed transactions: 3 (0.1%)\n';
  assert.deepEqual(parseFailures(text), { failed: 3, aborted: false });
  assert.equal(parseFailures('pgbench: error: client 3 script 0 aborted in command 1').aborted, true);
});
