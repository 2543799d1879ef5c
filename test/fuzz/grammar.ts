import type { Random } from '../simulation/random.ts';
import { READS, WRITES, DDL, TRANSACTION, SAVEPOINT, READ_ONLY, type Texts } from './texts-data.ts';
import { LISTEN, SETTINGS, SQL_PREPARE, CURSORS, TEMP, NOTICES, LOCKS, DISCARDS, ODD } from './texts-session.ts';

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
