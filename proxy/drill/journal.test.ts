import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryStore } from '../../election/store/memory.ts';
import { keysOf } from '../../election/store/keys.ts';
import { canaryResult, facts, NO_COUNTS, request } from '../../test/support/drills.ts';
import { DrillJournal, type RunningDrill } from './journal.ts';
import { planDrill } from './plan.ts';
import { buildReport } from './report.ts';
import type { DrillReport } from './types.ts';

const RUNNING: RunningDrill = { id: 'a', kind: 'crash', proxy: 'proxy1', by: 'test', startedAt: 'now', abort: false };

function report(id: string, changes: Partial<DrillReport> = {}): DrillReport {
  const none = { leader: 'node1', term: 1 };
  return {
    ...buildReport({
      id,
      cluster: 'main',
      by: 'test',
      proxy: 'proxy1',
      plan: planDrill(request('crash'), facts()),
      startedAt: '2026-01-01T00:00:00.000Z',
      endedAt: '2026-01-01T00:00:01.000Z',
      startedMs: 0,
      endedMs: 1,
      struckMs: null,
      inStepMs: null,
      aborted: true,
      problem: null,
      before: none,
      after: none,
      timeline: [],
      countsBefore: NO_COUNTS,
      countsAfter: NO_COUNTS,
      worstLagBytes: null,
      canary: canaryResult(),
    }),
    ...changes,
  };
}

test('one drill runs in a cluster at a time; who asks for another is told which', async () => {
  const store = createMemoryStore(() => performance.now());
  const one = new DrillJournal(store, 'main', 5);
  const other = new DrillJournal(store, 'main', 5);
  const lock = await one.begin(RUNNING);
  await assert.rejects(other.begin({ ...RUNNING, id: 'b' }), {
    status: 409,
    message: /crash \(a, on proxy1\) is running/,
  });
  assert.equal((await other.running())?.id, 'a');
  await lock.release();
  assert.equal(await other.running(), null);
  await (await other.begin({ ...RUNNING, id: 'b' })).release();
});

test('an abort asked of any proxy reaches the one that runs the drill', async () => {
  const store = createMemoryStore(() => performance.now());
  const lock = await new DrillJournal(store, 'main', 5).begin(RUNNING);
  const aborted = new Promise((resolve) => lock.aborted.addEventListener('abort', resolve));
  assert.equal((await new DrillJournal(store, 'main', 5).requestAbort())?.id, 'a');
  await aborted;
  await lock.release();
  assert.equal(await new DrillJournal(store, 'main', 5).requestAbort(), null);
});

test('a drill whose lock was lost is aborted: another one may run by now', async () => {
  let pausedMs = 0;
  const store = createMemoryStore(() => performance.now() + pausedMs);
  const lock = await new DrillJournal(store, 'main', 5).begin(RUNNING);
  const aborted = new Promise((resolve) => lock.aborted.addEventListener('abort', resolve));
  pausedMs = 30_000;
  const other = await new DrillJournal(store, 'main', 5).begin({ ...RUNNING, id: 'b' });
  await aborted;
  await lock.release();
  assert.equal((await new DrillJournal(store, 'main', 5).running())?.id, 'b');
  await other.release();
});

test('the newest reports are kept, within a bound of number and size', async () => {
  const store = createMemoryStore(() => performance.now());
  const journal = new DrillJournal(store, 'main', 3);
  for (let i = 1; i <= 5; i++) await journal.keep(report(`2026010${i}-crash`));
  assert.deepEqual(
    (await journal.list()).map((one) => one.id),
    ['20260105-crash', '20260104-crash', '20260103-crash'],
  );
  assert.equal(await journal.show('20260101-crash'), null);
  const long = Array.from({ length: 60_000 }, () => 5);
  await journal.keep(
    report('20260109-crash', { series: { fromMs: 0, binMs: 1, writes: long, reads: [], failed: [] } }),
  );
  const key = keysOf('main').drill('20260109-crash');
  const kept = (await store.readAll(key, { deadlineMs: 100 })).keys.get(key)?.value ?? '';
  assert.ok(kept.length < 64 * 1024);
  assert.equal((await journal.show('20260109-crash'))?.id, '20260109-crash');
});
