import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientError } from '../../common/errors.ts';
import { formatDuration, NO_OWN, withOwn } from './own-settings.ts';
import { SessionSettings } from './settings.ts';

const DURATIONS: readonly (readonly [string, number])[] = [
  ['5s', 5000],
  ['200ms', 200],
  [' 200 ms ', 200],
  ['1.5min', 90_000],
  ['1500', 1500],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  ['2000us', 2],
  ['1e3', 1000],
];
for (const [text, ms] of DURATIONS) {
  test(`max_staleness '${text}' is ${ms} ms`, () => {
    assert.equal(withOwn(NO_OWN, 'leasehold.max_staleness', text).maxStalenessMs, ms);
  });
}

test('a time is shown in the largest unit that gives a whole number', () => {
  assert.deepEqual([0, 1, 1500, 5000, 90_000, 60_000, 86_400_000].map(formatDuration), [
    '0',
    '1ms',
    '1500ms',
    '5s',
    '90s',
    '1min',
    '1d',
  ]);
});

const REFUSED: readonly (readonly [string, string, string])[] = [
  ['leasehold.consistency', 'much', '22023'],
  ['leasehold.max_staleness', '5 fortnights', '22023'],
  ['leasehold.max_staleness', '', '22023'],
  ['leasehold.max_staleness', '5S', '22023'],
  ['leasehold.max_staleness', '0', '22023'],
  ['leasehold.max_staleness', '100d', '22023'],
  ['leasehold.causal_wait', '-1', '22023'],
  ['leasehold.causal_wait', '2h', '22023'],
  ['leasehold.node', 'node1', '55P02'],
  ['leasehold.version', '2', '55P02'],
  ['leasehold.nosuch', '1', '42704'],
];
for (const [name, value, sqlState] of REFUSED) {
  test(`${name} = '${value}' is refused with ${sqlState}`, () => {
    assert.throws(
      () => withOwn(NO_OWN, name, value),
      (error) => error instanceof ClientError && error.sqlState === sqlState,
    );
  });
}

const set = (settings: SessionSettings, value: string | null, local = false): void =>
  settings.setOwn('leasehold.consistency', value, local);

test('a setting of the proxy’s own is undone by ROLLBACK and kept by COMMIT', () => {
  const settings = new SessionSettings();
  settings.beginTransaction();
  set(settings, 'strong');
  assert.equal(settings.own.consistency, 'strong');
  settings.endTransaction(false);
  assert.equal(settings.own.consistency, null);
  settings.beginTransaction();
  set(settings, 'strong');
  settings.endTransaction(true);
  assert.equal(settings.own.consistency, 'strong');
});

test('SET LOCAL of the proxy’s own ends with the transaction, and a SET after it is kept', () => {
  const settings = new SessionSettings();
  set(settings, 'eventual', true);
  assert.equal(settings.own.consistency, null); // there is no transaction
  settings.beginTransaction();
  set(settings, 'eventual', true);
  assert.equal(settings.own.consistency, 'eventual');
  settings.endTransaction(true);
  assert.equal(settings.own.consistency, null);
  settings.beginTransaction();
  set(settings, 'eventual', true);
  set(settings, 'database');
  settings.endTransaction(true);
  assert.equal(settings.own.consistency, 'database');
});

test('ROLLBACK TO undoes settings of the proxy’s own since the savepoint, local ones too', () => {
  const settings = new SessionSettings();
  settings.beginTransaction();
  set(settings, 'database', true);
  settings.apply({ kind: 'savepoint', name: 's' });
  set(settings, 'strong');
  settings.apply({ kind: 'rollback-to', name: 's' });
  assert.equal(settings.own.consistency, 'database');
  settings.endTransaction(true);
  assert.equal(settings.own.consistency, null);
});

test('RESET, RESET ALL and DISCARD ALL go back to what the client connected with', () => {
  const own = { ...NO_OWN, consistency: 'strong' as const };
  const settings = new SessionSettings(new Map(), own);
  for (const reset of [
    () => set(settings, null),
    () => settings.apply({ kind: 'reset-all' }),
    () => settings.apply({ kind: 'discard', what: 'all' }),
  ]) {
    set(settings, 'eventual');
    reset();
    assert.equal(settings.own.consistency, 'strong');
  }
});

test('a unit that runs again keeps what was set before a server had seen the transaction', () => {
  const settings = new SessionSettings();
  settings.beginTransaction();
  set(settings, 'eventual', true);
  settings.apply({ kind: 'set', name: 'work_mem', value: '1MB', local: false, sql: "SET work_mem = '1MB'" });
  settings.restartTransaction();
  assert.deepEqual([settings.own.consistency, settings.valueOf('work_mem')], ['eventual', undefined]);
  settings.endTransaction(true);
  assert.equal(settings.own.consistency, null);
});

test('no server is told of the proxy’s own settings', () => {
  const settings = new SessionSettings();
  const { image } = settings;
  set(settings, 'strong');
  assert.equal(settings.image, image);
});

test('defaults of the role lie below what the client asked for, and RESET returns to them', () => {
  const settings = new SessionSettings(new Map(), { ...NO_OWN, consistency: 'eventual' });
  settings.adoptDefaults({ consistency: 'strong', maxStalenessMs: 70, causalWaitMs: null });
  assert.deepEqual(settings.own, { consistency: 'eventual', maxStalenessMs: 70, causalWaitMs: null });
  settings.setOwn('leasehold.max_staleness', '1s', false);
  settings.setOwn('leasehold.max_staleness', null, false);
  assert.equal(settings.own.maxStalenessMs, 70);
});
