import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DrillSummary, listText } from './drill-reports.ts';
import { requestOf } from './drill.ts';

test('a drill is asked for with what was said, and with nothing else', () => {
  delete process.env['LEASEHOLD_DSN'];
  const { by, ...request } = requestOf({ override: ['lag,recent', 'ddl'], node: 'node2', seconds: 5 }) as {
    by: string;
  };
  assert.deepEqual(request, { target: 'node2', seconds: 5, override: ['lag', 'recent', 'ddl'] });
  assert.match(by, /, command line$/);
  assert.deepEqual(Object.keys(requestOf({})), ['override', 'by']);
});

test('kept drills are listed oldest first, the one that runs before them', () => {
  const one: DrillSummary = {
    id: 'b',
    kind: 'crash',
    outcome: 'passed',
    startedAt: '',
    target: 'node1',
    leaderBefore: 'node1',
    leaderAfter: 'node2',
    writeStallMs: 212,
    readStallMs: 9,
    predictedMs: 300,
    missing: 0,
    inStepMs: 2100,
  };
  const running = { id: 'c', kind: 'lag', proxy: 'proxy1', by: 'me' };
  const text = listText({ running, drills: [one, { ...one, id: 'a', outcome: 'failed', writeStallMs: null }] });
  assert.match(text, /^running: lag c on proxy1, asked for by me\n/);
  assert.match(text, /\na +failed +node1 +node1 → node2 +- +300 ms[\s\S]*\nb +passed +node1 +node1 → node2 +212 ms/);
  assert.match(listText({ running: null, drills: [] }), /no drill has been kept/);
});
