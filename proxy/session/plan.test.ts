import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { createClassifier } from '../sql/classify.ts';
import type { Classifier, VolatilityCatalog } from '../sql/types.ts';
import { planOf, type UnitPlan } from './plan.ts';

const CATALOG: VolatilityCatalog = { volatilityOf: () => 'unknown', isVolatile: () => false, version: 0 };

let classifier: Classifier;
before(async () => {
  classifier = await createClassifier();
});

const plan = (sql: string): UnitPlan =>
  planOf(classifier.classify(Buffer.from(sql), CATALOG, { standardConformingStrings: true, systemCatalogs: 'leader' }));

for (const [sql, target] of [
  ['SELECT 1', 'follower'],
  ['INSERT INTO t VALUES (1)', 'leader'],
  ["SET application_name = 'x'", 'any'],
  ['SHOW search_path', 'any'],
  ['SHOW transaction_read_only', 'leader'],
  ['SET ROLE someone', 'leader'],
  ["SET SESSION AUTHORIZATION 'someone'", 'leader'],
  ['RESET ROLE', 'any'],
  ['DISCARD SEQUENCES', 'leader'],
  ['DISCARD PLANS', 'leader'],
  ['DISCARD ALL', 'any'],
  ["SET default_tablespace = 'fast'", 'leader'],
  ['PREPARE p AS SELECT 1', 'follower'],
  ['PREPARE p AS DELETE FROM t', 'leader'],
  ['EXECUTE p (1 + 1)', 'follower'],
  ["EXECUTE p (nextval('s'))", 'leader'],
  ['EXPLAIN ANALYZE EXECUTE p', 'follower'],
  ['CREATE TABLE a AS EXECUTE p', 'leader'],
  ['EXECUTE p; EXECUTE q', 'leader'],
] as const) {
  test(`${sql} is for: ${target}`, () => assert.equal(plan(sql).target, target));
}

test('only what may write moves the session’s floor', () => {
  for (const sql of ['SELECT 1', 'BEGIN', 'COMMIT', 'SHOW search_path']) assert.equal(plan(sql).mayWrite, false, sql);
  for (const sql of [
    'INSERT INTO t VALUES (1)',
    "SELECT nextval('s')",
    'CALL p()',
    'SELEKT',
    'SELECT 1; DELETE FROM t',
  ])
    assert.equal(plan(sql).mayWrite, true, sql);
});

test('a read may be run again, a write and a COMMIT may not', () => {
  assert.equal(plan('SELECT 2').retryable, true);
  assert.equal(plan('UPDATE t SET i = 1').retryable, false);
  assert.equal(plan('COMMIT').committing, true);
});

test('transactions that share a snapshot meet on the leader, READ ONLY or not', () => {
  assert.equal(plan('SELECT pg_catalog.pg_export_snapshot()').meetsOthers, true);
  assert.equal(plan("SET TRANSACTION SNAPSHOT '00000003-0000001B-1'").meetsOthers, true);
  assert.equal(plan('SELECT 1').meetsOthers, false);
});

test('what DO and CALL set cannot be noted', () => {
  assert.equal(plan('DO $$ BEGIN SET work_mem = 65; END $$').runsCode, true);
  assert.equal(plan('SELECT 1; CALL p()').runsCode, true);
  assert.equal(plan('CREATE TABLE a (i int)').runsCode, false);
});

test('what names prepared statements of SQL says which, and what it executes of them', () => {
  const of = (sql: string) => [plan(sql).names, plan(sql).executes];
  assert.deepEqual(of('SELECT 1'), [null, null]);
  assert.deepEqual(of('PREPARE "P" AS SELECT 1; EXECUTE p; DEALLOCATE q'), [['p', 'P', 'q'], ['p']]);
  assert.deepEqual(of('EXPLAIN EXECUTE p(1)'), [['p'], ['p']]);
  assert.deepEqual(of('CREATE TEMP TABLE a AS EXECUTE p'), [['p'], ['p']]);
  assert.deepEqual(of('DEALLOCATE ALL'), [null, null]);
  assert.equal(plan('SELECT * FROM pg_prepared_statements').listsStatements, true);
});

test('PREPARE keeps no server; LISTEN and temporary tables do', () => {
  assert.deepEqual(plan('PREPARE p AS SELECT 1').pins, []);
  assert.deepEqual(plan('LISTEN a').pins, ['listen']);
  assert.deepEqual(plan('CREATE TEMP TABLE a (i int)').pins, ['temporary-objects']);
});

test('a call of what sets something for the session pins, by SELECT and by CALL; DO pins by its text', () => {
  const catalog: VolatilityCatalog = { ...CATALOG, isSetter: (_schema, name) => name === 'setter' };
  const options = { standardConformingStrings: true, systemCatalogs: 'leader' } as const;
  const pins = (sql: string) => planOf(classifier.classify(Buffer.from(sql), catalog, options)).pins;
  for (const sql of ['SELECT setter(1)', 'SELECT * FROM t WHERE app.setter(i)', 'CALL setter(1)'])
    assert.deepEqual(pins(sql), ['session-state'], sql);
  for (const sql of ['SELECT other(1)', 'CALL other(1)', "DO 'BEGIN UPDATE t SET i = 1; SET LOCAL a.b = 1; END'"])
    assert.deepEqual(pins(sql), [], sql);
  assert.deepEqual(pins('DO $$ BEGIN SET a.b = 1; END $$'), ['session-state']);
  assert.deepEqual(pins("DO $$ BEGIN EXECUTE 'set a.b = 1'; END $$"), ['session-state']);
});
