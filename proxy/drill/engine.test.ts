import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempts, canaryResult, facts, NO_COUNTS, request } from '../../test/support/drills.ts';
import { type DrillWorld, type EngineTimes, runDrill } from './engine.ts';
import { planDrill } from './plan.ts';
import type { BareSighting } from './sightings.ts';
import type { DrillFacts, DrillReport, DrillRequest } from './types.ts';

const TIMES: EngineTimes = { warmUpMs: 1, afterMs: 1, changeMs: 60, stepMs: 120, lookEveryMs: 1 };

interface Fake {
  readonly world: DrillWorld;
  readonly calls: string[];
  term: number;
  problem: string | null;
  see: (what: BareSighting) => void;
}

function fake(now: DrillFacts, changes: Partial<DrillWorld> = {}): Fake {
  const calls: string[] = [];
  let acknowledged = 0;
  const it: Fake = {
    calls,
    term: now.term,
    problem: null,
    see: () => {},
    world: {
      nowMs: () => performance.now(),
      wallTime: () => '2026-01-01T00:00:00.000Z',
      facts: async () => now,
      strike: async (plan) => void calls.push(`strike ${plan.target}`),
      lift: async () => void calls.push('lift'),
      observe: (_, see) => {
        it.see = see;
      },
      canary: () => ({
        start: async () => void calls.push('start'),
        finish: async () => {
          calls.push('finish');
          return canaryResult({ writes: attempts([performance.now()]), reads: attempts([performance.now()]) });
        },
        remove: async () => void calls.push('remove'),
        get acknowledged() {
          return acknowledged++;
        },
        firstAcknowledgedAfter: () => performance.now(),
      }),
      standing: () => ({ leader: 'node2', term: it.term, problem: it.problem }),
      counts: () => NO_COUNTS,
      lagOf: () => 4096,
      ...changes,
    },
  };
  return it;
}

function run(it: Fake, asked: DrillRequest, abort = new AbortController(), now = facts()): Promise<DrillReport> {
  const lines: string[] = [];
  const say = (line: string) => void lines.push(line);
  return runDrill(it.world, { id: 'x', request: asked, plan: planDrill(asked, now), say, abort: abort.signal }, TIMES);
}

test('a drill strikes once, waits for the new leader and for every node, and looks every write up', async () => {
  const looks: string[] = [];
  const it = fake(facts(), {
    strike: async (plan) => {
      it.calls.push(`strike ${plan.target}`);
      it.term = 8;
    },
    // Not in step in the first looks at the nodes; looks without nodes ask who leads.
    standing: (nodes) => {
      if (nodes.length > 0) looks.push(nodes.join());
      const problem = nodes.length > 0 && looks.length < 5 ? 'node1 is REWINDING' : null;
      return { leader: 'node2', term: it.term, problem };
    },
  });
  const report = await run(it, request('crash'));
  assert.deepEqual(it.calls, ['start', 'strike node1', 'finish']);
  assert.equal(report.outcome, 'passed');
  assert.equal(looks.length, 5);
  assert.equal(looks[0], 'node1,node2,node3');
});

test('an abort before the fault leaves the cluster alone', async () => {
  const it = fake(facts());
  const abort = new AbortController();
  abort.abort();
  const report = await run(it, request('crash'), abort);
  assert.deepEqual(it.calls, ['start', 'finish']);
  assert.equal(report.outcome, 'aborted');
});

/** However long it takes until the fault begins. */
function abortAfterStrike(it: { readonly calls: readonly string[] }): AbortController {
  const abort = new AbortController();
  const timer = setInterval(() => {
    if (!it.calls.some((call) => call.startsWith('strike'))) return;
    clearInterval(timer);
    setTimeout(() => abort.abort(), 30);
  }, 5);
  return abort;
}

test('an abort during a fault that lasts ends it', async () => {
  const it = fake(facts());
  const abort = abortAfterStrike(it);
  const report = await run(it, request('lag', { seconds: 30 }), abort);
  assert.deepEqual(it.calls, ['start', 'strike node2', 'lift', 'finish']);
  assert.equal(report.outcome, 'aborted');
  assert.equal(report.worstLagBytes, 4096);
});

test('an agent that is stopped cannot be told to go on: an abort waits for the end of the fault', async () => {
  const it = fake(facts());
  const abort = abortAfterStrike(it);
  const report = await run(it, request('freeze', { what: 'agent', seconds: 1 }), abort);
  assert.deepEqual(it.calls, ['start', 'strike node1', 'finish']);
  assert.equal(report.outcome, 'aborted');
  assert.ok((report.timeline.find((one) => one.type === 'lifted')?.atMs ?? 0) >= 1000);
});

test('guards are asked once more right before the fault', async () => {
  const it = fake(facts({ held: true }));
  const report = await run(it, request('crash'));
  assert.deepEqual(it.calls, ['start', 'finish']);
  assert.match(report.problem ?? '', /given up before anything was done.*a failover or switchover is under way/);
});

test('the target that the operator was told is kept, though another would be chosen by now', async () => {
  const [first, second, third] = facts().nodes;
  const later = facts({ nodes: [first, second, { ...third, priority: 99 }] as DrillFacts['nodes'] });
  const it = fake(later);
  it.term = 8;
  const report = await run(it, request('switchover'));
  assert.equal(report.plan.target, 'node2');
  assert.deepEqual(it.calls, ['start', 'strike node2', 'finish']);
});

test('a fault that cannot be begun is told, and nothing is claimed', async () => {
  const it = fake(facts(), { strike: () => Promise.reject(new Error('the agent does not answer')) });
  const report = await run(it, request('crash'));
  assert.equal(report.outcome, 'failed');
  assert.match(report.problem ?? '', /could not be done: the agent does not answer/);
  assert.deepEqual(report.checks, []);
});

test('a node that does not come back fails the drill, in bounded time', async () => {
  const it = fake(facts());
  it.term = 8;
  it.problem = 'node1 is REWINDING';
  const report = await run(it, request('crash'));
  assert.equal(report.outcome, 'failed');
  assert.match(report.problem ?? '', /not in step: node1 is REWINDING/);
});

test('a leader that stays where another was expected fails the drill', async () => {
  const report = await run(fake(facts()), request('crash'));
  assert.deepEqual(
    report.checks.filter((check) => !check.passed).map((check) => check.name),
    ['leader'],
  );
});

test('a canary that cannot begin ends the drill with its reason, and cleans up', async () => {
  const it = fake(facts());
  const { world } = it;
  const broken = {
    ...world,
    canary: (plan: Parameters<DrillWorld['canary']>[0]) => ({
      ...world.canary(plan),
      start: () => Promise.reject(new Error('no entry')),
    }),
  };
  await assert.rejects(run({ ...it, world: broken }, request('crash')), /no entry/);
  assert.deepEqual(it.calls, ['remove']);
});
