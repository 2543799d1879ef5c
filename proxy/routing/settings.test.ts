import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StatementDetail } from '../sql/types.ts';
import { MAX_SETTINGS, SessionSettings } from './settings.ts';
import { NO_SETTINGS, quoteLiteral, type SettingsImage, settingsDiff, startupImage } from './settings-image.ts';

const set = (name: string, value: string | null, local = false): StatementDetail => ({
  kind: 'set',
  name,
  value,
  local,
  sql: value === null ? `RESET ${name}` : `SET ${name} = ${value}`,
});
const begin: StatementDetail = { kind: 'begin', readOnly: null, isolation: null, deferrable: null };
const commit: StatementDetail = { kind: 'commit', chain: false };
const rollback: StatementDetail = { kind: 'rollback', chain: false };
const savepoint = (name: string): StatementDetail => ({ kind: 'savepoint', name });
const release = (name: string): StatementDetail => ({ kind: 'release', name });
const rollbackTo = (name: string): StatementDetail => ({ kind: 'rollback-to', name });

function after(...statements: StatementDetail[]): SessionSettings {
  const settings = new SessionSettings();
  for (const statement of statements) settings.apply(statement);
  return settings;
}

function values(image: SettingsImage): Record<string, string> {
  return Object.fromEntries([...image].map(([name, setting]) => [name, setting.value]));
}

const cases: [string, StatementDetail[], Record<string, string>][] = [
  ['SET is recorded', [set('a', '1')], { a: '1' }],
  [
    'SET of one part of DateStyle keeps the other',
    [set('datestyle', 'sql'), set('datestyle', 'ymd')],
    { datestyle: 'SQL, YMD' },
  ],
  [
    'a SET of one part of DateStyle that was rolled back leaves the pair',
    [set('datestyle', 'ISO, DMY'), begin, set('datestyle', 'mdy'), rollback],
    { datestyle: 'ISO, DMY' },
  ],
  ['RESET forgets it', [set('a', '1'), set('a', null)], {}],
  ['SET LOCAL outside a transaction does nothing', [set('a', '1', true)], {}],
  ['a SET that was rolled back is not recorded', [begin, set('a', '1'), rollback], {}],
  ['a SET that was committed is', [begin, set('a', '1'), commit], { a: '1' }],
  ['ROLLBACK brings back the earlier value', [set('a', '1'), begin, set('a', '2'), rollback], { a: '1' }],
  ['SET LOCAL ends with its transaction', [set('a', '1'), begin, set('a', '2', true), commit], { a: '1' }],
  [
    'SET LOCAL does not hide a SET of the same transaction',
    [begin, set('a', '1'), set('a', '2', true), commit],
    { a: '1' },
  ],
  [
    'ROLLBACK TO undoes what came after',
    [begin, set('a', '1'), savepoint('s'), set('a', '2'), rollbackTo('s'), commit],
    { a: '1' },
  ],
  ['RELEASE keeps it', [begin, savepoint('s'), set('a', '2'), release('s'), commit], { a: '2' }],
  [
    'ROLLBACK TO an outer savepoint undoes the inner ones',
    [begin, savepoint('s'), set('a', '1'), savepoint('t'), set('b', '2'), rollbackTo('s'), commit],
    {},
  ],
  [
    'of two savepoints of one name the inner counts',
    [begin, savepoint('s'), set('a', '1'), savepoint('s'), set('a', '2'), rollbackTo('s'), commit],
    { a: '1' },
  ],
  [
    'ROLLBACK AND CHAIN undoes and begins again',
    [begin, set('a', '1'), { kind: 'rollback', chain: true }, set('b', '2'), rollback],
    {},
  ],
  [
    'RESET ALL forgets everything but the identity',
    [set('a', '1'), set('role', 'x'), { kind: 'reset-all' }],
    { role: 'x' },
  ],
  ['RESET ALL can be rolled back', [set('a', '1'), begin, { kind: 'reset-all' }, rollback], { a: '1' }],
  ['DISCARD ALL forgets the identity too', [set('role', 'x'), { kind: 'discard', what: 'all' }], {}],
  ['DISCARD PLANS forgets nothing', [set('a', '1'), { kind: 'discard', what: 'plans' }], { a: '1' }],
  [
    'a new session user ends the role',
    [set('role', 'x'), set('session_authorization', 'y')],
    { session_authorization: 'y' },
  ],
  [
    'SET SESSION CHARACTERISTICS is the defaults of later transactions',
    [{ kind: 'set-transaction', readOnly: true, isolation: 'serializable', deferrable: null, session: true }],
    { default_transaction_isolation: 'serializable', default_transaction_read_only: 'on' },
  ],
  [
    'SET TRANSACTION is of this transaction only',
    [begin, { ...begin, kind: 'set-transaction', session: false }, commit],
    {},
  ],
];

for (const [name, statements, expected] of cases) {
  test(name, () => assert.deepEqual(values(after(...statements).image), expected));
}

test('a savepoint outside a transaction is ignored', () => {
  assert.deepEqual(values(after(savepoint('s'), set('a', '1'), rollbackTo('s')).image), { a: '1' });
});

test('SET LOCAL … TO DEFAULT hides the session’s value until the transaction ends', () => {
  const settings = after(set('a', '1'), begin, set('a', null, true));
  assert.equal(settings.valueOf('a'), undefined);
  settings.apply(commit);
  assert.equal(settings.valueOf('a'), '1');
});

test('the session’s defaults say whether an unmarked transaction is read only', () => {
  assert.deepEqual(after(set('default_transaction_read_only', 'on')).transactionDefaults, {
    readOnly: true,
    isolation: null,
  });
  assert.equal(
    after(set('default_transaction_isolation', 'SERIALIZABLE')).transactionDefaults.isolation,
    'serializable',
  );
});

test('RESET returns to what the client asked for when it connected', () => {
  const settings = new SessionSettings(startupImage(new Map([['DateStyle', 'German']])));
  settings.apply(set('datestyle', 'ISO'));
  settings.apply(set('datestyle', null));
  assert.equal(settings.valueOf('datestyle'), 'German');
});

test('the same image needs nothing, and an equal one needs nothing either', () => {
  const { image } = after(set('a', '1'));
  assert.equal(settingsDiff(image, image), null);
  assert.equal(settingsDiff(image, after(set('a', '1')).image), null);
});

test('a backend is given what it lacks and relieved of what another session left', () => {
  const from = after(set('a', '1'), set('b', '1')).image;
  const to = after(set('b', '2'), set('c.d', '3')).image;
  assert.deepEqual(settingsDiff(from, to), ['RESET "a"', 'SET b = 2', 'SET c.d = 3']);
  assert.deepEqual(settingsDiff(to, NO_SETTINGS), ['RESET "b"', 'RESET "c"."d"']);
});

test('a change of role starts anew, in the order in which the client set things', () => {
  const to = after(set('work_mem', '1'), set('role', 'app'), set('a', '1')).image;
  assert.deepEqual(settingsDiff(after(set('a', '1')).image, to), [
    'RESET SESSION AUTHORIZATION',
    'RESET ROLE',
    'RESET ALL',
    'SET work_mem = 1',
    'SET role = app',
    'SET a = 1',
  ]);
});

test('start-up values are single strings, quoted', () => {
  const image = startupImage(new Map([['search_path', `a, "b'c\\"`]]));
  assert.deepEqual(settingsDiff(NO_SETTINGS, image), [
    `SELECT pg_catalog.set_config('search_path', E'a, "b''c\\\\"', false)`,
  ]);
});

test('a session that sets too much is told apart, and keeps what it had', () => {
  const settings = new SessionSettings();
  for (let i = 0; i <= MAX_SETTINGS; i += 1) settings.apply(set(`x.y${i}`, '1'));
  assert.equal(settings.overflowed, true);
  assert.equal(settings.image.size, MAX_SETTINGS);
});

test('quoted literals have balanced quotes whatever is in them', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const inner = quoteLiteral(text).replace(/^E/, '').slice(1, -1);
      assert.equal(inner.replaceAll("''", '').includes("'"), false);
    }),
  );
});

/** What PostgreSQL would hold: a naive model with whole copies. */
test('any run of statements leaves what a plain model of nested transactions leaves', () => {
  const statement = fc.oneof(
    fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom('1', '2', null), fc.boolean()).map(([n, v, l]) => set(n, v, l)),
    fc.constantFrom(begin, commit, rollback, savepoint('s'), savepoint('t'), rollbackTo('s'), release('s')),
  );
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 30 }), (statements) => {
      const model = new Model();
      for (const each of statements) model.apply(each);
      assert.deepEqual(values(after(...statements).image), model.session);
    }),
  );
});

class Model {
  session: Record<string, string> = {};
  readonly stack: { name: string; session: Record<string, string> }[] = [];

  apply(statement: StatementDetail): void {
    const open = this.stack.length > 0;
    if (statement.kind === 'set' && !statement.local) {
      const { [statement.name]: _, ...rest } = this.session;
      this.session = statement.value === null ? rest : { ...rest, [statement.name]: statement.value };
    } else if (statement.kind === 'begin' && !open) this.stack.push({ name: '', session: this.session });
    else if (statement.kind === 'commit') this.stack.length = 0;
    else if (statement.kind === 'rollback') {
      this.session = this.stack[0]?.session ?? this.session;
      this.stack.length = 0;
    } else if (statement.kind === 'savepoint' && open) this.stack.push({ name: statement.name, session: this.session });
    else if (statement.kind === 'rollback-to' || statement.kind === 'release') {
      const index = this.stack.findLastIndex((each) => each.name === statement.name);
      if (index < 0) return;
      if (statement.kind === 'rollback-to') this.session = this.stack[index]?.session ?? {};
      this.stack.length = statement.kind === 'release' ? index : index + 1;
    }
  }
}
