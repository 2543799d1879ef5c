import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Logger, pino } from 'pino';
import { LiveConfig } from '../../common/config/live.ts';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { EMPTY_PLAN } from '../session/plan.ts';
import { Unit } from '../session/unit.ts';
import { commandComplete, query } from '../wire/encode.ts';
import { Activity } from './activity.ts';
import { Averages } from './database-totals.ts';
import { Recorder } from './recorder.ts';
import { SlowLog } from './slow-log.ts';

const follower = { node: 'node2', host: 'h', port: 1, role: 'follower', term: null } as const;

function setUp(proxy: object = {}) {
  const records: Record<string, unknown>[] = [];
  const logger: Logger = pino({ level: 'info' }, { write: (line: string) => records.push(JSON.parse(line)) });
  const live = new LiveConfig(leaseholdConfig.parse({ proxy }).proxy);
  const recorder = new Recorder();
  let nowMs = 1;
  const slow = new SlowLog({ logger, perSecond: () => live.current.log.slowQueriesPerSecond, nowMs: () => nowMs });
  const owner = { user: 'ann', database: 'app', application: () => 'shop' };
  const activity = new Activity({ recorder, slow, live, nowMs: () => nowMs }, owner);
  return { records, live, recorder, activity, later: (ms: number) => (nowMs += ms) };
}

function unitOf(text: string, key: string): Unit {
  const unit = new Unit();
  unit.plan = { ...EMPTY_PLAN, label: 'read' };
  unit.key = key;
  unit.add({ kind: 'query', bytes: query(text), swallow: false, prepared: null, name: '', tracked: null, undo: null });
  return unit;
}

test('a transaction is counted when it ends, each of its statements when it does', () => {
  const { recorder, activity } = setUp();
  for (const open of [true, true, false]) {
    activity.begin();
    activity.sent(follower, unitOf('SELECT 1', 'SELECT $1'));
    activity.end(unitOf('SELECT 1', 'SELECT $1'), false, open);
  }
  const totals = recorder.totals().get('app');
  assert.deepEqual([totals?.queries, totals?.transactions], [3, 1]);
  assert.ok((totals?.transactionMs ?? 0) >= (totals?.queryMs ?? Infinity));
  const [statement] = recorder.statements.top(10);
  assert.deepEqual([statement?.text, statement?.calls, statement?.onFollower], ['SELECT $1', 3, 3]);
});

test('a database that no server let anybody into is not counted', () => {
  const { recorder, activity } = setUp();
  activity.begin();
  activity.fail(unitOf('SELECT 1', 'SELECT $1'), '3D000', false);
  activity.account(100, 100);
  assert.equal(recorder.totals().size, 0);
});

test('bytes are counted once', () => {
  const { recorder, activity } = setUp();
  activity.begin();
  activity.sent(follower, unitOf('SELECT 1', 'SELECT $1'));
  activity.account(100, 1000);
  activity.account(150, 1000);
  const totals = recorder.totals().get('app');
  assert.deepEqual([totals?.receivedBytes, totals?.sentBytes], [150, 1000]);
});

test('a slow statement is logged without its literals, with where its time went and its trace', () => {
  const { records, activity, later } = setUp({ log: { slowQueryMs: 10 } });
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const text = `SELECT 'secret' /*traceparent='${trace}',route='%2Fpolls%20x',secret='no'*/;`;
  activity.begin();
  later(2);
  activity.holdMs = 2;
  activity.sent(follower, unitOf(text, 'SELECT $1'));
  later(15);
  const tag = commandComplete('SELECT 5');
  activity.completed(tag, 0, tag.length);
  activity.end(unitOf(text, 'SELECT $1'), false, false);
  const [record] = records;
  assert.equal(records.length, 1);
  assert.ok(!JSON.stringify(record).includes('secret'));
  const { event, node, role, statement, database, user, application, traceparent, route, outcome, holdMs } =
    record ?? {};
  assert.deepEqual(
    {
      event,
      node,
      role,
      statement,
      database,
      user,
      application,
      traceparent,
      route,
      outcome,
      holdMs,
      tag: record?.['tag'],
    },
    {
      event: 'query.slow',
      node: 'node2',
      role: 'follower',
      statement: 'SELECT $1',
      database: 'app',
      user: 'ann',
      application: 'shop',
      traceparent: trace,
      route: '/polls x',
      outcome: 'done',
      holdMs: 2,
      tag: 'SELECT 5',
    },
  );
  assert.deepEqual([record?.['serverMs'], record?.['waitMs'], record?.['durationMs']], [15, 0, 17]);
});

test('what waited in vain is slow, too; what was quick is not logged; a reload and a user’s setting count', () => {
  const { records, live, activity, later } = setUp({ log: { slowQueryMs: 5 } });
  activity.begin();
  activity.fail(unitOf('SELECT 1', 'SELECT $1'), '57P03', false);
  assert.equal(records.length, 0);
  activity.begin();
  later(8);
  activity.fail(unitOf('SELECT 1', 'SELECT $1'), '57P03', false);
  assert.deepEqual([records.length, records[0]?.['outcome'], records[0]?.['node']], [1, '57P03', null]);
  live.replace(
    leaseholdConfig.parse({ proxy: { log: { slowQueryMs: 0 }, users: { ann: { slowQueryMs: -1 } } } }).proxy,
  );
  activity.begin();
  activity.fail(unitOf('SELECT 1', 'SELECT $1'), '57P03', false);
  assert.equal(records.length, 1);
  live.replace(leaseholdConfig.parse({ proxy: { log: { slowQueryMs: 0 } } }).proxy);
  activity.begin();
  activity.fail(unitOf('SELECT 1', 'SELECT $1'), '57P03', false);
  assert.equal(records.length, 2);
});

test('a storm of slow statements is told by its number', () => {
  const { records, activity, later } = setUp({ log: { slowQueryMs: 0, slowQueriesPerSecond: 2 } });
  const one = (): void => {
    activity.begin();
    activity.fail(unitOf('SELECT 1', 'SELECT $1'), '57P03', false);
  };
  for (let i = 0; i < 50; i++) one();
  assert.equal(records.length, 2);
  later(1000);
  one();
  assert.deepEqual(
    records.map((record) => record['suppressed']),
    [undefined, undefined, 48],
  );
});

test('averages are those of the last whole period, and before it ends since the start', () => {
  const averages = new Averages(0);
  const { recorder, activity } = setUp();
  const one = (): void => {
    activity.begin();
    activity.sent(follower, unitOf('SELECT 1', 'SELECT $1'));
    activity.end(null, false, false);
  };
  const queries = (nowMs: number): [number, number] => {
    const totals = recorder.totals().get('app');
    assert.ok(totals !== undefined);
    const { delta, periodMs } = averages.of('app', totals, nowMs);
    return [delta.queries, periodMs];
  };
  one();
  assert.deepEqual(queries(10_000), [1, 10_000]);
  averages.turn(recorder.totals(), 60_000);
  one();
  one();
  assert.deepEqual(queries(70_000), [1, 60_000]);
  averages.turn(recorder.totals(), 120_000);
  assert.deepEqual(queries(130_000), [2, 60_000]);
});
