import type { Random } from '../simulation/random.ts';

/** What a program may be about. Each draws a few of them (swarm testing), so that rare things meet each other often. */
export const TOPICS = [
  'read',
  'write',
  'ddl',
  'transaction',
  'savepoint',
  'read-only',
  'setting',
  'sql-prepare',
  'cursor',
  'copy',
  'temp',
  'notice',
  'listen',
  'lock',
  'discard',
  'odd',
] as const;
export type Topic = (typeof TOPICS)[number];

/** Names of one session, so that sessions at once do not meet in the database. */
export const schemaOf = (session: number): string => `fz${session}`;

export function setupOf(session: number): string[] {
  const schema = schemaOf(session);
  return [
    `SET search_path = ${schema}`,
    `CREATE SCHEMA ${schema}; CREATE TABLE t (i int PRIMARY KEY, s text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 5) AS g; ` +
      'CREATE TABLE d (i int REFERENCES t (i) DEFERRABLE INITIALLY DEFERRED); CREATE SEQUENCE sq; ' +
      "CREATE FUNCTION wf() RETURNS bigint LANGUAGE sql AS 'INSERT INTO t VALUES (nextval(''sq'') + 100, ''wf'') RETURNING i::bigint'; " +
      "CREATE FUNCTION rf() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t'",
  ];
}

type Texts = readonly [string, ...string[]];

const READS: Texts = [
  'SELECT 1 AS a',
  'SELECT i, s FROM t ORDER BY i',
  'SELECT count(*) FROM t',
  'SELECT * FROM nosuch',
  'SELECT 1/0',
  'SELECT i / (i - 2) FROM t ORDER BY i',
  'SELECT generate_series(1, 4)',
  'VALUES (1), (2)',
  "SELECT 'x' || repeat('y', 400) AS long",
  'SELECT i, repeat(s, 30) FROM t, generate_series(1, 30) AS g ORDER BY i, g',
  "SELECT NULL::int, ''::text, '\\x00ff'::bytea, 1.5::numeric, true, ARRAY[1, 2], 'é'",
  "SELECT current_setting('application_name'), current_schema, current_user",
  'SELECT rf()',
  'EXPLAIN (COSTS OFF) SELECT s FROM t WHERE i = 1',
  '/* leasehold: follower */ SELECT count(*) FROM t',
  '/* leasehold: leader */ SELECT max(i) FROM t',
  'SELECT a FROM u ORDER BY a',
  'SELECT * FROM t ORDER BY i LIMIT 2 OFFSET 1',
  "SELECT '2020-02-03 04:05:06+00'::timestamptz, '2020-02-03'::date, '\\x6162'::bytea, 0.1::float4",
  "SELECT 'a\\'' || '; SELECT 2; --'",
];

const WRITES: Texts = [
  "INSERT INTO t VALUES (6, 'six')",
  "INSERT INTO t VALUES (7, 'seven') RETURNING *",
  "INSERT INTO t VALUES (1, 'again')",
  "INSERT INTO t VALUES (8, 'eight') ON CONFLICT DO NOTHING",
  "UPDATE t SET s = s || '!' WHERE i = 2",
  'DELETE FROM t WHERE i > 6',
  'DELETE FROM t WHERE i = 3 RETURNING s',
  'SELECT i FROM t ORDER BY i FOR UPDATE',
  'SELECT i FROM t WHERE i = 1 FOR SHARE',
  "WITH w AS (INSERT INTO t VALUES (9, 'w') RETURNING i) SELECT * FROM w",
  'INSERT INTO d VALUES (1)',
  'INSERT INTO d VALUES (99)',
  'SET CONSTRAINTS ALL IMMEDIATE',
  "SELECT nextval('sq')",
  "SELECT currval('sq')",
  "SELECT setval('sq', 40)",
  'SELECT wf()',
  'TRUNCATE d',
  'LOCK TABLE t IN SHARE MODE',
];

const DDL: Texts = [
  'CREATE TABLE u (a int)',
  'INSERT INTO u VALUES (1), (2)',
  'DROP TABLE u',
  'DROP TABLE IF EXISTS u',
  'CREATE TABLE IF NOT EXISTS u (a int)',
  'ALTER TABLE t ADD COLUMN c int',
  'ALTER TABLE t DROP COLUMN c',
  'ALTER TABLE t ALTER COLUMN s TYPE varchar(99)',
  'CREATE INDEX ti ON t (s)',
  'DROP INDEX ti',
  'CREATE VIEW v AS SELECT i FROM t',
  'SELECT * FROM v ORDER BY i',
  'DROP VIEW v',
  "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
  "CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES (50, 'g'); RETURN 2; END $$",
  'SELECT g()',
  'DROP FUNCTION g',
  'SELECT a INTO u FROM generate_series(1, 2) AS a',
  'VACUUM t',
  'ANALYZE t',
  "COMMENT ON TABLE t IS 'x'",
];

const TRANSACTION: Texts = [
  'BEGIN',
  'BEGIN',
  'BEGIN',
  'START TRANSACTION',
  'COMMIT',
  'COMMIT',
  'END',
  'ROLLBACK',
  'ABORT',
  'COMMIT AND CHAIN',
  'ROLLBACK AND CHAIN',
  'BEGIN ISOLATION LEVEL SERIALIZABLE',
  'BEGIN ISOLATION LEVEL REPEATABLE READ',
  'BEGIN READ WRITE',
  'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
  'SHOW transaction_isolation',
  "PREPARE TRANSACTION 'fz'",
  "COMMIT PREPARED 'fz nosuch'",
];

const SAVEPOINT: Texts = [
  'SAVEPOINT a',
  'SAVEPOINT a',
  'SAVEPOINT b',
  'ROLLBACK TO a',
  'ROLLBACK TO SAVEPOINT b',
  'RELEASE a',
  'RELEASE SAVEPOINT b',
  'SELECT 1/0',
];

const READ_ONLY: Texts = [
  'BEGIN READ ONLY',
  'BEGIN READ ONLY',
  'START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY',
  'SET TRANSACTION READ ONLY',
  'SET TRANSACTION READ WRITE',
  'SHOW transaction_read_only',
  'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
  'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
  'SET default_transaction_read_only = on',
  'RESET default_transaction_read_only',
  'SET transaction_read_only = off',
  'SET transaction_read_only = on',
  'SELECT count(*) FROM t',
  'COMMIT',
  'COMMIT',
];

const LISTEN: Texts = [
  'LISTEN ch$',
  'UNLISTEN ch$',
  'UNLISTEN *',
  "NOTIFY ch$, 'one'",
  'NOTIFY ch$',
  "SELECT pg_notify('ch$', 'two')",
];

const SETTINGS: Texts = [
  "SET application_name = 'app$'",
  'SET application_name TO DEFAULT',
  "SET LOCAL application_name = 'local$'",
  'RESET application_name',
  'SHOW application_name',
  "SELECT set_config('application_name', 'conf$', false)",
  "SELECT set_config('application_name', 'conflocal$', true)",
  "SET DateStyle = 'German'",
  "SET TimeZone = 'Asia/Tokyo'",
  "SET TIME ZONE 'UTC'",
  'SET SESSION TIME ZONE -3',
  'SHOW TimeZone',
  'RESET ALL',
  'SET work_mem = $MB',
  "SET LOCAL work_mem = '3MB'",
  'SHOW work_mem',
  'SET bytea_output = escape',
  'SET extra_float_digits = 0',
  "SET custom.mine = 'mine$'",
  "SET LOCAL custom.mine = 'localmine$'",
  "SELECT current_setting('custom.mine', true)",
  'SHOW custom.mine',
  'SET search_path = public',
  'SET search_path = fz$, public',
  'SET LOCAL search_path = pg_catalog',
  'SHOW search_path',
  'SET nosuch = 1',
  "SET work_mem = 'much'",
  'SET standard_conforming_strings = off',
  'RESET standard_conforming_strings',
  'SET client_min_messages = warning',
  'SET ROLE app',
  'SET ROLE nosuch',
  'RESET ROLE',
  'SET SESSION AUTHORIZATION DEFAULT',
  'SHOW server_version',
  "SET client_encoding = 'LATIN1'",
  'RESET client_encoding',
  'SET NAMES utf8',
  'SET enable_seqscan = off',
  "ALTER ROLE app SET work_mem = '5MB'; ALTER ROLE app RESET work_mem",
  "SELECT '2020-02-03 04:05:06+00'::timestamptz, '2020-02-03'::date, '\\x6162'::bytea, 0.1::float4",
];

const SQL_PREPARE: Texts = [
  'PREPARE q1 AS SELECT i FROM t ORDER BY i',
  'PREPARE q1 (int) AS SELECT $1 + 1',
  "PREPARE q2 AS INSERT INTO t VALUES (60, 'q2')",
  'PREPARE s1 AS SELECT 7',
  'EXECUTE q1',
  'EXECUTE q1 (41)',
  'EXECUTE q2',
  'EXECUTE s1',
  'EXECUTE nosuch',
  'DEALLOCATE q1',
  'DEALLOCATE s1',
  'DEALLOCATE ALL',
  'SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql AND false',
];

const CURSORS: Texts = [
  'DECLARE c1 CURSOR FOR SELECT i FROM t ORDER BY i',
  'DECLARE c1 CURSOR FOR SELECT i FROM t ORDER BY i',
  'DECLARE c2 SCROLL CURSOR WITH HOLD FOR SELECT i FROM t ORDER BY i',
  'DECLARE p1 CURSOR FOR SELECT 1',
  'FETCH 2 FROM c1',
  'FETCH BACKWARD 1 FROM c2',
  'FETCH ALL FROM c2',
  'MOVE 1 IN c1',
  'FETCH 1 FROM p1',
  'CLOSE c1',
  'CLOSE c2',
  'CLOSE p1',
  'CLOSE ALL',
  'BEGIN',
  'BEGIN',
  'COMMIT',
];

const TEMP: Texts = [
  'CREATE TEMP TABLE x (a int)',
  'CREATE TEMP TABLE x (a int) ON COMMIT DROP',
  'CREATE TEMP TABLE t (i int, s text)',
  'INSERT INTO x VALUES (1), (2)',
  'SELECT a FROM x ORDER BY a',
  'SELECT count(*) FROM t',
  'DROP TABLE x',
  'DROP TABLE pg_temp.t',
  'SELECT 5 AS a INTO TEMP x',
  'CREATE TABLE pg_temp.y (a int)',
  'SELECT count(*) FROM y',
];

const NOTICES: Texts = [
  "DO $$ BEGIN RAISE NOTICE 'note $'; END $$",
  "DO $$ BEGIN RAISE WARNING 'warn $'; END $$",
  "DO $$ BEGIN RAISE NOTICE 'first'; RAISE EXCEPTION 'raised $' USING DETAIL = 'd', HINT = 'h', ERRCODE = 'U0001'; END $$",
  'DROP TABLE IF EXISTS nosuch',
  'DO $$ BEGIN PERFORM 1/0; END $$',
];

const LOCKS: Texts = [
  'SELECT pg_advisory_lock(70$)',
  'SELECT pg_try_advisory_lock(70$)',
  'SELECT pg_advisory_unlock(70$)',
  'SELECT pg_advisory_unlock_all()',
  'SELECT pg_advisory_xact_lock(70$)',
  'SELECT pg_catalog.pg_advisory_lock_shared(71$)',
];

const DISCARDS: Texts = [
  'DISCARD ALL',
  'DISCARD PLANS',
  'DISCARD TEMP',
  'DISCARD SEQUENCES',
  'DEALLOCATE ALL',
  'RESET ALL',
];

const ODD: Texts = [
  '',
  ' ',
  ';',
  ';;',
  '-- only a comment',
  '/* a */ SELECT 1 /* b */;',
  'SELEKT',
  'SELECT 1;',
  'SELECT $1',
  'SELECT "unclosed',
  "SELECT 'unclosed",
  'SELECT $$x$$',
  'CALL nosuch()',
  'CHECKPOINT',
  'SELECT (((((1)))))',
  'GRANT SELECT ON t TO PUBLIC',
  'COPY t FROM STDIN; SELECT 1',
];

const BY_TOPIC: Readonly<Record<Topic, Texts>> = {
  read: READS,
  write: WRITES,
  ddl: DDL,
  transaction: TRANSACTION,
  savepoint: SAVEPOINT,
  'read-only': READ_ONLY,
  setting: SETTINGS,
  'sql-prepare': SQL_PREPARE,
  cursor: CURSORS,
  copy: [
    'COPY t TO STDOUT',
    'COPY (SELECT i FROM t ORDER BY i) TO STDOUT',
    'COPY nosuch TO STDOUT',
    'COPY (SELECT 1/0) TO STDOUT',
    'COPY (SELECT i, s FROM t ORDER BY i) TO STDOUT (FORMAT csv, HEADER)',
  ],
  temp: TEMP,
  notice: NOTICES,
  listen: LISTEN,
  lock: LOCKS,
  discard: DISCARDS,
  odd: ODD,
};

/** Statements with parameters, for the extended protocol: the text and how many it takes. */
export const PARAMETERS: readonly (readonly [string, number])[] = [
  ['SELECT $1::int + 1', 1],
  ['SELECT $1::text || $2::text AS both', 2],
  ['SELECT i, s FROM t WHERE i = $1', 1],
  ['SELECT generate_series(1, $1::int)', 1],
  ['INSERT INTO t VALUES ($1, $2) RETURNING i', 2],
  ['UPDATE t SET s = $2 WHERE i = $1', 2],
  ['SELECT * FROM t WHERE s = ANY ($1::text[]) ORDER BY i', 1],
  ['SELECT 10 / $1::int', 1],
  ['SELECT $1', 1],
  ["SELECT set_config('application_name', $1, false)", 1],
];

export function sqlOf(random: Random, topics: readonly [Topic, ...Topic[]], session: number): string {
  const text = random.pick(BY_TOPIC[random.pick(topics)]);
  // `$` alone stands for the session; a parameter has a digit behind it, a dollar quote another dollar.
  return text.replace(/(?<!\$)\$(?![\d$])/g, String(session));
}
