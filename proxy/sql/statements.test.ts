import assert from 'node:assert/strict';
import { test } from 'node:test';
import { someCatalog } from '../../test/support/volatility.ts';
import { createClassifier } from './classify.ts';
import type { Classification, ClassifyOptions, StatementDetail } from './types.ts';

const OPTIONS: ClassifyOptions = { standardConformingStrings: true, systemCatalogs: 'leader' };
const classifier = await createClassifier();

function classify(text: string): Classification {
  return classifier.classify(Buffer.from(text), someCatalog, OPTIONS);
}

/** Name, text, target, reason. */
const routes: [string, string, Classification['target'], string][] = [
  ['plain SELECT', 'SELECT a FROM t WHERE b = 1', 'follower', 'read'],
  ['TABLE', 'TABLE t', 'follower', 'read'],
  ['VALUES', "VALUES (1, 'a'), (2, 'b')", 'follower', 'read'],
  ['a reading CTE', 'WITH x AS (SELECT 1) SELECT * FROM x', 'follower', 'read'],
  ['several reads in one text', 'SELECT 1; SELECT 2; SHOW work_mem', 'follower', 'read'],
  ['nothing at all', ' ; -- nothing', 'follower', 'empty'],
  ['text that the parser rejects', 'SELEC 1', 'leader', 'unparsed'],
  ['an unended literal', "SELECT 'abc", 'leader', 'unparsed'],
  ['a data-modifying CTE', 'WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x', 'leader', 'write'],
  [
    'a data-modifying CTE under two others',
    'WITH a AS (WITH b AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM b) SELECT * FROM a',
    'leader',
    'write',
  ],
  ['SELECT FOR UPDATE', 'SELECT * FROM t FOR UPDATE', 'leader', 'locking-read'],
  ['SELECT FOR NO KEY UPDATE SKIP LOCKED', 'SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED', 'leader', 'locking-read'],
  ['SELECT FOR SHARE', 'SELECT * FROM t FOR SHARE', 'leader', 'locking-read'],
  ['FOR KEY SHARE in a subquery', 'SELECT * FROM (SELECT * FROM t FOR KEY SHARE) s', 'leader', 'locking-read'],
  ['FOR UPDATE in one arm of a union', '(SELECT 1 FROM t FOR UPDATE) UNION ALL SELECT 2', 'leader', 'locking-read'],
  ['SELECT INTO', 'SELECT 1 INTO t2', 'leader', 'ddl-relation'],
  ['CREATE TABLE AS', 'CREATE TABLE t2 AS SELECT 1', 'leader', 'ddl-relation'],
  ['REFRESH MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW m', 'leader', 'utility'],
  [
    'built-in stable and immutable functions',
    "SELECT now(), count(*), lower('A'), pg_catalog.length('a')",
    'follower',
    'read',
  ],
  [
    'volatile functions that cannot write',
    'SELECT random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0)',
    'follower',
    'read',
  ],
  ['a stable user function', 'SELECT reader(1)', 'follower', 'read'],
  ['a volatile user function', 'SELECT app.writer(1)', 'leader', 'volatile-function:writer'],
  [
    'a volatile user function found by the search path',
    'SELECT * FROM writer(1)',
    'leader',
    'volatile-function:writer',
  ],
  ['a function that nobody knows', 'SELECT other.thing(1)', 'leader', 'unknown-function:thing'],
  ['a user function that is named like a built-in one', "SELECT app.lower('A')", 'leader', 'unknown-function:lower'],
  ['a function called as an attribute', 'SELECT t.writer FROM t', 'leader', 'volatile-attribute:writer'],
  ['a function called as an attribute of a row', 'SELECT (ROW(1)::t).writer', 'leader', 'volatile-attribute:writer'],
  ['a view that reaches a volatile function', 'SELECT * FROM app.logged', 'leader', 'volatile-relation:logged'],
  ['an operator of a volatile function', 'SELECT 1 OPERATOR(app.@@@) 2', 'leader', 'volatile-operator:@@@'],
  ['a cast by a volatile function', "SELECT 'x'::odd", 'leader', 'volatile-type:odd'],
  [
    'a volatile function deep in a query',
    'SELECT * FROM t WHERE EXISTS (SELECT 1 ORDER BY app.writer(1))',
    'leader',
    'volatile-function:writer',
  ],
  ['nextval', "SELECT nextval('s')", 'leader', 'volatile-function:nextval'],
  ['currval', "SELECT currval('s')", 'leader', 'volatile-function:currval'],
  ['txid_current, although it is stable', 'SELECT txid_current()', 'leader', 'volatile-function:txid_current'],
  ['large objects', 'SELECT lo_create(0)', 'leader', 'volatile-function:lo_create'],
  ['pg_notify', "SELECT pg_notify('a', 'b')", 'leader', 'volatile-function:pg_notify'],
  ['dblink in any schema', "SELECT * FROM ext.dblink('x', 'y') AS t(a int)", 'leader', 'volatile-function:dblink'],
  ['query_to_xml', "SELECT query_to_xml('SELECT 1', true, false, '')", 'leader', 'volatile-function:query_to_xml'],
  ['INSERT', 'INSERT INTO t VALUES (1)', 'leader', 'write'],
  ['UPDATE', 'UPDATE t SET a = 1', 'leader', 'write'],
  ['DELETE', 'DELETE FROM t', 'leader', 'write'],
  ['MERGE', 'MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE', 'leader', 'write'],
  ['TRUNCATE', 'TRUNCATE t', 'leader', 'utility'],
  ['DDL', 'ALTER TABLE t ADD b int', 'leader', 'ddl'],
  ['DDL that changes no call', 'DROP TABLE t', 'leader', 'ddl-relation'],
  ['DROP FUNCTION', 'DROP FUNCTION f', 'leader', 'ddl'],
  ['DROP VIEW', 'DROP VIEW v', 'leader', 'ddl'],
  ['VACUUM', 'VACUUM t', 'leader', 'utility'],
  ['LOCK', 'LOCK TABLE t', 'leader', 'utility'],
  ['CALL', 'CALL p()', 'leader', 'utility'],
  ['DO', 'DO $$BEGIN END$$', 'leader', 'utility'],
  ['NOTIFY', 'NOTIFY a', 'leader', 'utility'],
  ['COPY FROM', 'COPY t FROM STDIN', 'leader', 'copy-from'],
  ['COPY of a table', 'COPY t TO STDOUT', 'follower', 'read'],
  ['COPY of a query', 'COPY (SELECT 1) TO STDOUT', 'follower', 'read'],
  ['COPY of a writing query', 'COPY (DELETE FROM t RETURNING *) TO STDOUT', 'leader', 'write'],
  ['COPY to a file of the server', "COPY t TO '/tmp/x'", 'leader', 'copy-to-file'],
  ['EXPLAIN of a read', 'EXPLAIN (COSTS off) SELECT 1', 'follower', 'read'],
  ['EXPLAIN ANALYZE of a write', 'EXPLAIN ANALYZE INSERT INTO t VALUES (1)', 'leader', 'write'],
  ['EXPLAIN of CREATE TABLE AS', 'EXPLAIN CREATE TABLE x AS SELECT 1', 'leader', 'ddl-relation'],
  ['SHOW', 'SHOW work_mem', 'follower', 'setting'],
  ['SHOW of what a node is', 'SHOW transaction_read_only', 'leader', 'system-setting:transaction_read_only'],
  ['SHOW of the proxy’s own', 'SHOW leasehold.consistency', 'proxy', 'setting'],
  ['SET of the proxy’s own', "SET leasehold.consistency = 'strong'", 'proxy', 'setting'],
  ['SET', 'SET work_mem = 1', 'follower', 'setting'],
  ['SET transaction_read_only is SET TRANSACTION', 'SET transaction_read_only = off', 'leader', 'setting'],
  ['BEGIN', 'BEGIN', 'proxy', 'transaction'],
  ['BEGIN among others', 'BEGIN; SELECT 1; COMMIT', 'leader', 'transaction'],
  [
    'a SAVEPOINT, an EXECUTE and a ROLLBACK TO in one text',
    'BEGIN; SAVEPOINT a; EXECUTE p; ROLLBACK TO a',
    'leader',
    'transaction',
  ],
  ['INSERT; BEGIN; INSERT', 'INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2)', 'leader', 'write'],
  ['VACUUM in a batch', 'SELECT 1; VACUUM', 'leader', 'utility'],
  ['a SET among reads', 'SELECT 1; SET a.b = 1', 'leader', 'setting'],
  ['two-phase', "PREPARE TRANSACTION 'x'", 'leader', 'two-phase'],
  ['COMMIT PREPARED', "COMMIT PREPARED 'x'", 'leader', 'two-phase'],
  ['PREPARE as what it prepares', 'PREPARE p AS SELECT 1', 'follower', 'read'],
  ['PREPARE of a write', 'PREPARE p AS INSERT INTO t VALUES ($1)', 'leader', 'write'],
  ['LISTEN', 'LISTEN a', 'leader', 'listen'],
  ['a temporary table read by its schema', 'SELECT * FROM pg_temp.x', 'leader', 'temporary-objects'],
  ['pg_stat views', 'SELECT * FROM pg_stat_activity', 'leader', 'system-catalog:pg_stat_activity'],
  ['pg_locks in a subquery', 'SELECT (SELECT count(*) FROM pg_catalog.pg_locks)', 'leader', 'system-catalog:pg_locks'],
  ['pg_is_in_recovery', 'SELECT pg_is_in_recovery()', 'leader', 'system-function:pg_is_in_recovery'],
  ['catalogs that are the same everywhere', 'SELECT * FROM pg_class, pg_stats, pg_settings', 'follower', 'read'],
  ['a leader hint', '/* leasehold: leader */ SELECT 1', 'leader', 'hint'],
  ['a follower hint on a volatile user function', '/* leasehold: follower */ SELECT writer(1)', 'follower', 'read'],
  ['a follower hint on a write', '/* leasehold: follower */ INSERT INTO t VALUES (1)', 'leader', 'write'],
  [
    'a follower hint on nextval',
    "/* leasehold: follower */ SELECT nextval('s')",
    'leader',
    'volatile-function:nextval',
  ],
  ['a hint that does not lead', 'SELECT /* leasehold: leader */ 1', 'follower', 'read'],
  ['leading comments do not matter', '-- a\n/* b /* c */ */ SELECT 1', 'follower', 'read'],
  ['a hint after another comment', '/* app:x */ /*leasehold: LEADER*/ SELECT 1', 'leader', 'hint'],
  ['a keyword in a literal', "SELECT 'for update; delete from t'", 'follower', 'read'],
  ['EXPLAIN (ROUTE)', 'EXPLAIN (ROUTE) SELECT 1', 'proxy', 'explain-route'],
];

for (const [name, text, target, reason] of routes) {
  test(`${name}: ${target}`, () => {
    const { target: actual, reason: why } = classify(text);
    assert.deepEqual([actual, why], [target, reason]);
  });
}

const pins: [string, string, Classification['pins']][] = [
  ['a temporary table', 'CREATE TEMP TABLE x (a int)', ['temporary-objects']],
  ['CREATE TEMP TABLE AS', 'CREATE TEMP TABLE x AS SELECT 1', ['temporary-objects']],
  ['SELECT INTO TEMP', 'SELECT 1 INTO TEMP x', ['temporary-objects']],
  ['a temporary view', 'CREATE TEMP VIEW x AS SELECT 1', ['temporary-objects']],
  ['a temporary sequence', 'CREATE TEMP SEQUENCE x', ['temporary-objects']],
  [
    'a function in pg_temp',
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ['temporary-objects'],
  ],
  ['a type in pg_temp', 'CREATE TYPE pg_temp.x AS (a int)', ['temporary-objects']],
  ['pg_temp in the search path', 'SET search_path TO app, pg_temp', ['temporary-objects']],
  ['a session advisory lock', 'SELECT pg_advisory_lock(1)', ['advisory-lock']],
  ['a schema-qualified try-lock', 'SELECT pg_catalog.pg_try_advisory_lock_shared(1, 2)', ['advisory-lock']],
  ['an advisory lock of the transaction', 'SELECT pg_advisory_xact_lock(1)', []],
  ['an advisory lock inside a write', 'INSERT INTO t SELECT pg_advisory_lock(1)', ['advisory-lock']],
  ['LISTEN', 'LISTEN a', ['listen']],
  ['a cursor WITH HOLD', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', ['held-cursor']],
  ['a cursor without', 'DECLARE c CURSOR FOR SELECT 1', []],
  ['setseed', 'SELECT setseed(0.5)', ['session-state']],
  ['LOAD', "LOAD 'x'", ['session-state']],
  ['set_config with a bound parameter', 'SELECT set_config($1, $2, false)', ['session-state']],
  ['set_config with a bound scope', "SELECT set_config('a.b', 'x', $1)", ['session-state']],
  ['a local set_config', "SELECT set_config('a.b', $1, true)", []],
  ['a set_config among other columns', "SELECT 1, set_config('a.b', 'x', false)", ['session-state']],
  ['UPDATE pg_settings', "UPDATE pg_settings SET setting = 'x' WHERE name = 'a'", ['session-state']],
  ['a pin in a later statement of the text', 'SELECT 1; CREATE TEMP TABLE x ()', ['temporary-objects']],
];

for (const [name, text, expected] of pins) {
  test(`${name} pins [${expected.join()}]`, () => assert.deepEqual(classify(text).pins, expected));
}

const unsaid = { readOnly: null, isolation: null, deferrable: null };
const details: [string, StatementDetail][] = [
  ['BEGIN', { kind: 'begin', ...unsaid }],
  ['START TRANSACTION READ WRITE', { kind: 'begin', ...unsaid, readOnly: false }],
  [
    'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE',
    { kind: 'begin', readOnly: true, isolation: 'serializable', deferrable: false },
  ],
  [
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
    { kind: 'set-transaction', ...unsaid, isolation: 'repeatable read', session: false },
  ],
  ['SET LOCAL transaction_read_only = 1', { kind: 'set-transaction', ...unsaid, readOnly: true, session: false }],
  [
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    { kind: 'set-transaction', ...unsaid, readOnly: true, session: true },
  ],
  ['END', { kind: 'commit', chain: false }],
  ['COMMIT AND CHAIN', { kind: 'commit', chain: true }],
  ['ABORT', { kind: 'rollback', chain: false }],
  ['SAVEPOINT "A b"', { kind: 'savepoint', name: 'A b' }],
  ['RELEASE a', { kind: 'release', name: 'a' }],
  ['ROLLBACK TO SAVEPOINT a', { kind: 'rollback-to', name: 'a' }],
  ["SET TIME ZONE 'UTC'", { kind: 'set', name: 'timezone', value: 'UTC', local: false, sql: "SET TIME ZONE 'UTC'" }],
  [
    "SET LOCAL Search_Path = a, 'b'",
    { kind: 'set', name: 'search_path', value: 'a, b', local: true, sql: "SET LOCAL Search_Path = a, 'b'" },
  ],
  ['SET ROLE x', { kind: 'set', name: 'role', value: 'x', local: false, sql: 'SET ROLE x' }],
  ['SET a.b TO DEFAULT', { kind: 'set', name: 'a.b', value: null, local: false, sql: 'RESET "a"."b"' }],
  ['RESET ALL', { kind: 'reset-all' }],
  [
    "SELECT pg_catalog.set_config('search_path', '', false)",
    {
      kind: 'set',
      name: 'search_path',
      value: '',
      local: false,
      sql: "SELECT pg_catalog.set_config('search_path', '', false)",
    },
  ],
  ['SHOW ALL', { kind: 'show', name: 'all' }],
  ['PREPARE p (int) AS /* x */ SELECT $1', { kind: 'prepare', name: 'p', bodyStart: 27, bodyEnd: 36 }],
  ["EXPLAIN /* ( */ (ROUTE, x ')') SELECT 1", { kind: 'explain-route', bodyStart: 31, format: 'text', other: 'x' }],
  ['EXPLAIN (ROUTE, FORMAT json) SELECT 1', { kind: 'explain-route', bodyStart: 29, format: 'json', other: null }],
  ["SELECT current_setting('leasehold.node', true) AS here", { kind: 'show', name: 'leasehold.node', column: 'here' }],
  [
    "SELECT pg_catalog.set_config('Leasehold.consistency', 'strong', true)",
    {
      kind: 'set',
      name: 'leasehold.consistency',
      value: 'strong',
      local: true,
      sql: '',
      column: 'set_config',
    },
  ],
  ["SELECT current_setting('leasehold.node') FROM t", { kind: 'read' }],
  ["SELECT app.current_setting('leasehold.node')", { kind: 'write' }],
  ['EXECUTE p(1)', { kind: 'execute', name: 'p' }],
  ['DEALLOCATE ALL', { kind: 'deallocate', name: null }],
  ['DISCARD ALL', { kind: 'discard', what: 'all' }],
  ['UNLISTEN *', { kind: 'unlisten' }],
  ['DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE', { kind: 'declare-cursor', withHold: false, routeAs: 'write' }],
  ['DECLARE c CURSOR WITH HOLD FOR SELECT 1', { kind: 'declare-cursor', withHold: true, routeAs: 'read' }],
  ['DECLARE c CURSOR FOR SELECT writer(1)', { kind: 'declare-cursor', withHold: false, routeAs: 'write' }],
];

for (const [text, expected] of details) {
  test(`${text} is ${expected.kind}`, () => {
    const { start: _start, end: _end, ...detail } = classify(text).statements[0] ?? { start: 0, end: 0 };
    assert.deepEqual(detail, expected);
  });
}

for (const call of [
  'pg_advisory_unlock(1)',
  'pg_catalog.pg_advisory_unlock_shared(1, 2)',
  'pg_advisory_unlock_all()',
]) {
  test(`after ${call} the server is asked which locks are left`, () => {
    assert.deepEqual(classify(`SELECT ${call}`).pins, ['advisory-lock']);
  });
}
