import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempts, canaryResult, drillNotes, facts, request, timeline, writes } from '../../test/support/drills.ts';
import { isUnknown, longestGap, seriesOf } from './attempts.ts';
import { planDrill } from './plan.ts';
import { reportPage } from './page.ts';
import { buildReport, type DrillNotes } from './report.ts';
import { phasesOf } from './sightings.ts';
import { reportText, verdictText } from './text.ts';

test('the stall runs from the last acknowledged write before the gap to the next', () => {
  assert.equal(longestGap(writes, 105), 300);
  assert.equal(longestGap(attempts([10], [50, '57P03']), 20), null);
});

test('a drill passes when nothing is missing, writes resumed and every node is in step', () => {
  const report = buildReport(drillNotes());
  assert.equal(report.outcome, 'passed');
  assert.equal(report.writes.stallMs, 300);
  assert.equal(report.inStepMs, 2000);
  assert.deepEqual(report.writes.errors, { '08007': 1 });
  const text = reportText(report);
  assert.match(text, /300 ms from one acknowledged write to the next/);
  assert.match(text, /4, looked up one by one: all there/);
  assert.match(
    text,
    /detection 20 ms, fence 30 ms, election 70 ms, promotion 100 ms, opening 50 ms, first write 25 ms/,
  );
  assert.match(text, /held by this proxy +3 served, 0 refused/);
  assert.match(text, /errors of all clients +40001 × 2, 08007 × 1\n/);
  assert.match(text, /the drill passed/);
});

test('what fails a drill', () => {
  const outcome = (changes: Partial<DrillNotes>) => buildReport(drillNotes(changes)).outcome;
  const canary = (changes: object) => ({ canary: canaryResult({ writes, reads: attempts([120]), ...changes }) });
  assert.equal(outcome(canary({ missing: [2] })), 'failed');
  assert.equal(outcome(canary({ refusedFound: [3] })), 'failed');
  assert.equal(outcome(canary({ stale: 1 })), 'failed');
  assert.equal(outcome(canary({ backwards: 1 })), 'failed');
  assert.equal(outcome({ inStepMs: null }), 'failed');
  assert.equal(outcome({ after: { leader: 'node1', term: 7 } }), 'failed');
  assert.equal(outcome({ problem: 'it could not be done', struckMs: null }), 'failed');
  const unchecked = buildReport(drillNotes(canary({ checked: false })));
  assert.equal(unchecked.outcome, 'failed');
  assert.match(verdictText(unchecked), /could NOT be looked up/);
  assert.doesNotMatch(reportText(unchecked), /all there/);
});

test('a planned switchover fails by a single error of a client', () => {
  const plan = planDrill(request('switchover'), facts());
  const report = buildReport(drillNotes({ plan }));
  assert.deepEqual(
    report.checks.filter((check) => !check.passed).map((check) => check.name),
    ['errors'],
  );
});

test('a drill that was aborted before anything was done claims nothing', () => {
  const report = buildReport(
    drillNotes({ aborted: true, struckMs: null, timeline: [], after: { leader: 'node1', term: 7 } }),
  );
  assert.equal(report.outcome, 'aborted');
  assert.deepEqual(report.checks, []);
  assert.match(verdictText(report), /aborted before anything was done/);
  const text = reportText(report);
  assert.match(text, /what was done +nothing\n/);
  assert.doesNotMatch(text, /in step|predicted/);
});

test('phases that were not seen are not made up', () => {
  const part = timeline.filter((one) => one.type !== 'leader-gone');
  assert.deepEqual(phasesOf(part, 'node1', []), {
    detectionMs: 20,
    fenceMs: null,
    electionMs: null,
    promotionMs: null,
    openingMs: null,
    firstWriteMs: null,
  });
});

test('bins are few enough for a picture, and count every attempt in the span', () => {
  const many = attempts(...Array.from({ length: 5000 }, (_, i): [number] => [i * 20]));
  const series = seriesOf(many, attempts([50, '40001']), 0, 100_000);
  assert.ok(series.writes.length <= 300);
  assert.equal(
    series.writes.reduce((a, b) => a + b),
    5000,
  );
  assert.equal(
    series.failed.reduce((a, b) => a + b),
    1,
  );
});

test('the page needs nothing from elsewhere, and texts in it are only text', () => {
  const html = reportPage(buildReport(drillNotes({ by: '<script>alert(1)</script>' })));
  assert.doesNotMatch(html, /<script|src=|href=|url\(|@import/);
  assert.match(html, /&lt;script&gt;/);
  assert.match(html, /<svg[\s\S]*election 70 ms[\s\S]*<\/svg>/);
});

test('a broken connection and class 08 leave the outcome open, other SQLSTATEs do not', () => {
  assert.deepEqual(['ECONNRESET', 'connection lost', '08007', '08006'].map(isUnknown), [true, true, true, true]);
  assert.deepEqual(['40001', '57P03', 'acknowledged'].map(isUnknown), [false, false, false]);
});
