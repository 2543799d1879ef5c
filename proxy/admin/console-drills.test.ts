import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { drillNotes, facts, NO_DRILLS, request } from '../../test/support/drills.ts';
import { planDrill } from '../drill/plan.ts';
import { buildReport } from '../drill/report.ts';
import { type Drills, DrillRefused } from '../drill/runner.ts';
import type { DrillReport } from '../drill/types.ts';
import { parseCommands } from './commands.ts';
import { abortByConsole, drillByConsole, parseDrill } from './console-drills.ts';

const asked: unknown[] = [];
let end: (report: DrillReport) => void = () => {};
const running = { id: 'id', kind: 'lag', proxy: 'proxy1', by: 'x', startedAt: 'now', abort: false } as const;
const drills: Drills = {
  ...NO_DRILLS,
  dryRun: async (drill) => planDrill(drill, facts()),
  start: async (drill, say = () => {}) => {
    asked.push(drill);
    if (drill.kind === 'etcd') throw new DrillRefused(planDrill(drill, facts({ maintenance: true })));
    say('canary: 500 writes acknowledged');
    const done = new Promise<DrillReport>((resolve) => {
      end = resolve;
    });
    return { id: 'id', plan: planDrill(drill, facts()), done };
  },
  abort: async () => {
    asked.push('abort');
    end(buildReport(drillNotes({ aborted: true, struckMs: null })));
    return running;
  },
};
const notices: string[] = [];

function run(text: string, signal = new AbortController().signal): Promise<string> {
  const command = parseDrill(text.split(' '));
  return drillByConsole(drills, command, 'postgres', (notice) => notices.push(notice), signal);
}

beforeEach(() => {
  asked.length = 0;
  notices.length = 0;
});

test('a drill tells its steps and its report; what it is asked with may come in any order', async () => {
  const done = run('lag override lag,recent FOR 5 TARGET node2');
  setImmediate(() => end(buildReport(drillNotes())));
  assert.match(await done, /the drill passed/);
  assert.deepEqual(notices, ['canary: 500 writes acknowledged']);
  const expected = { target: 'node2', seconds: 5, override: ['lag', 'recent'], by: 'postgres, console' };
  assert.deepEqual(asked, [request('lag', expected)]);
});

test('a dry run tells the plan and starts nothing', async () => {
  assert.match(await run('crash DRY RUN'), /kills PostgreSQL of node1[\s\S]*it would run/);
  assert.deepEqual(asked, []);
});

test('a drill that is refused says by which guards, in the console’s words', async () => {
  await assert.rejects(run('etcd'), { sqlState: '55000', message: /paused.*OVERRIDE maintenance$/, detail: /REFUSES/ });
});

test('a cancel asks for an abort and waits for what comes of it', async () => {
  const cancel = new AbortController();
  const done = run('lag', cancel.signal);
  setImmediate(() => cancel.abort());
  await assert.rejects(done, { sqlState: '57014', message: /aborted before anything was done/ });
  assert.deepEqual(asked.at(-1), 'abort');
});

test('a drill that failed is an error, after its report', async () => {
  const done = run('crash');
  setImmediate(() => end(buildReport(drillNotes({ inStepMs: null }))));
  await assert.rejects(done, { sqlState: 'F0000', message: /FAILED: a node is NOT in step yet/ });
  assert.match(notices.at(-1) ?? '', /acknowledged writes/);
});

test('what the console does not know of drills is refused with what there is', () => {
  for (const text of ['nonsense', '', 'lag FOR long', 'lag SIDEWAYS', 'lag FOR', 'lag FOR 999']) {
    assert.throws(() => parseDrill(text.split(' ')), { sqlState: '42601', hint: /switchover \| crash/ }, text);
  }
});

test('ABORT DRILL ends a drill, ABORT alone a transaction', async () => {
  const [drill, transaction] = parseCommands('ABORT DRILL; ABORT');
  assert.deepEqual(drill, { kind: 'do', tag: 'ABORT', action: { type: 'abort-drill' } });
  assert.equal(transaction?.kind, 'status');
  assert.match(await abortByConsole(drills), /asked drill id on proxy1 to end/);
  await assert.rejects(abortByConsole(NO_DRILLS), { sqlState: '55000', message: 'no drill is running' });
});

test('a connection string in a DRILL keeps its case and signs', () => {
  const [command] = parseCommands("DRILL crash DSN 'postgres://App:a=b@h:1/db' DRY RUN");
  assert.deepEqual(command, {
    kind: 'do',
    tag: 'DRILL',
    action: {
      type: 'drill',
      dryRun: true,
      request: request('crash', { dsn: 'postgres://App:a=b@h:1/db', by: 'HTTP' }),
    },
  });
});
