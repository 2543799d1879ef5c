import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client, DatabaseError } from 'pg';
import { recoveryOf } from '../../proxy/routing/retry.ts';
import { BUILTIN_FUNCTIONS } from '../../proxy/sql/builtin-functions.ts';
import { CATALOG_SQL } from '../../proxy/sql/catalog-queries.ts';
import { createVolatilityCatalog, type LoadedCatalog } from '../../proxy/sql/catalog.ts';
import { createClassifier } from '../../proxy/sql/classify.ts';
import { SAFE_VOLATILE } from '../../proxy/sql/functions.ts';
import type { Classifier, VolatilityCatalog } from '../../proxy/sql/types.ts';
import { unreadCatalog } from '../support/volatility.ts';
import { freePorts } from '../support/ports.ts';
import { postgresBinDir, startServer, type TestServer } from './login-support.ts';

const SCHEMA = `
CREATE SCHEMA app; SET search_path = app;
CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE UNLOGGED TABLE quick (a int); CREATE SEQUENCE q;
CREATE FUNCTION writer() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO app.t VALUES (2) RETURNING a';
CREATE FUNCTION reader() RETURNS int LANGUAGE sql STABLE AS 'SELECT max(a) FROM app.t';
CREATE FUNCTION liar() RETURNS bigint LANGUAGE sql STABLE AS $$SELECT nextval('app.q')$$;
CREATE FUNCTION mark(t) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION pair(t, t) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR @@@ (LEFTARG = t, RIGHTARG = t, PROCEDURE = pair);
CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 + $2; END';
CREATE AGGREGATE total(int) (SFUNC = step, STYPE = int, INITCOND = '0');
CREATE VIEW plain AS SELECT a, now(), random() FROM t;
CREATE VIEW writes AS SELECT writer(); CREATE VIEW over_it AS SELECT * FROM writes;
CREATE VIEW counts AS SELECT nextval('q');
CREATE TABLE guarded (a int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (a = app.writer())`;

const binDir = await postgresBinDir();

describe('classification on real servers', {
  skip: binDir === null ? 'no PostgreSQL server programs here' : false,
}, () => {
  let server: TestServer;
  let leader: Client;
  let standby: Client;
  let catalog: LoadedCatalog;
  let classifier: Classifier;
  const stopped = new AbortController();
  let stopStandby: () => Promise<void> = async () => {};

  before(async () => {
    server = await startServer(binDir as string);
    await server.sql(SCHEMA);
    leader = await connect(server.port);
    const standbyServer = await startStandby(binDir as string, server);
    stopStandby = standbyServer.stop;
    standby = await connect(standbyServer.port);
    classifier = await createClassifier();
    catalog = createVolatilityCatalog({
      query: async (sql) => (await leader.query<(string | null)[]>({ text: sql, rowMode: 'array' })).rows,
    });
    await catalog.refresh(stopped.signal);
  });

  after(async () => {
    stopped.abort();
    await Promise.allSettled([leader?.end(), standby?.end()]);
    await stopStandby();
    await server?.[Symbol.asyncDispose]();
  });

  const targetOf = (text: string, using: VolatilityCatalog = catalog): string =>
    classifier.classify(Buffer.from(text), using, { standardConformingStrings: true, systemCatalogs: 'leader' }).target;

  test('functions, operators, aggregates, attributes, views and policies are known by what they call', () => {
    const expected: Record<string, 'leader' | 'follower'> = {
      'SELECT app.reader()': 'follower',
      'SELECT writer()': 'leader',
      'SELECT total(a) FROM app.t': 'leader',
      'SELECT t.mark FROM app.t': 'leader',
      'SELECT t OPERATOR(app.@@@) t FROM app.t': 'leader',
      'SELECT * FROM app.plain': 'follower',
      'SELECT * FROM app.writes': 'leader',
      'SELECT * FROM over_it': 'leader',
      'SELECT * FROM app.counts': 'leader',
      'SELECT * FROM app.guarded': 'leader',
      'SELECT a, count(*) FROM app.t WHERE a = 1 GROUP BY a': 'follower',
    };
    assert.deepEqual(Object.fromEntries(Object.keys(expected).map((text) => [text, targetOf(text)])), expected);
  });

  test('a function that becomes volatile is noticed, also by its views', async () => {
    assert.equal(targetOf('SELECT app.changing()'), 'leader');
    await server.sql("CREATE FUNCTION app.changing() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'");
    await server.sql('CREATE VIEW app.shows AS SELECT app.changing()');
    await catalog.refresh(stopped.signal);
    assert.deepEqual([targetOf('SELECT app.changing()'), targetOf('TABLE app.shows')], ['follower', 'follower']);
    await server.sql('ALTER FUNCTION app.changing() VOLATILE');
    await catalog.refresh(stopped.signal);
    assert.deepEqual([targetOf('SELECT app.changing()'), targetOf('TABLE app.shows')], ['leader', 'leader']);
  });

  test('reading the catalog waits for no lock on a table, whatever is defined on it', async () => {
    await server.sql(
      `CREATE FUNCTION app.keeps() RETURNS text BEGIN ATOMIC SELECT set_config('a.b', min(a)::text, false) FROM app.t; END`,
    );
    await server.sql('CREATE DOMAIN app.checked AS bigint CHECK (value <= pg_catalog.txid_current())');
    const other = await connect(server.port);
    await other.query('BEGIN; LOCK TABLE app.t IN ACCESS EXCLUSIVE MODE');
    await leader.query("SET lock_timeout = '1s'");
    const { rows } = await leader.query<(string | null)[]>({ text: CATALOG_SQL, rowMode: 'array' });
    await other.query('ROLLBACK');
    await other.end();
    await leader.query('RESET lock_timeout');
    const found = (kind: string): (string | null)[] =>
      rows.filter((row) => row[0] === kind).map((row) => row[2] ?? null);
    assert.ok(found('setter').includes('keeps'));
    assert.ok(found('type').includes('checked'));
    for (const name of ['writes', 'counts', 'guarded', 'over_it']) assert.ok(found('relation').includes(name), name);
    assert.ok(!found('relation').includes('plain'));
    await catalog.refresh(stopped.signal);
  });

  test('a catalog in which nothing changed keeps its version', async () => {
    const { version } = catalog;
    await catalog.refresh(stopped.signal);
    assert.equal(catalog.version, version);
  });

  test('of this server’s volatile built-in functions only the harmless ones reach a follower, with a catalog or without', async () => {
    const { rows } = await leader.query<{ name: string; volatile: boolean }>(
      `SELECT proname AS name, bool_or(provolatile = 'v') AS volatile FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname`,
    );
    const volatile = rows.filter((row) => row.volatile && !SAFE_VOLATILE.has(row.name)).map((row) => row.name);
    assert.ok(volatile.length > 100);
    for (const using of [catalog, unreadCatalog]) {
      assert.deepEqual(
        volatile.filter((name) => targetOf(`SELECT pg_catalog."${name}"()`, using) !== 'leader'),
        [],
      );
    }
    // The list that is used before a catalog was read names no function that this server calls volatile.
    assert.deepEqual(
      volatile.filter((name) => BUILTIN_FUNCTIONS.has(name)),
      [],
    );
  });

  test('what is sent to followers runs on a standby', async () => {
    for (const text of [
      'SELECT random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0)',
      "SELECT pg_total_relation_size('app.t'), current_setting('work_mem')",
      'SELECT * FROM app.plain',
      'TABLE app.t',
      'VALUES (1)',
      'EXPLAIN ANALYZE SELECT 1',
      'SHOW work_mem',
      'SET work_mem = 100',
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE',
      'SET default_transaction_isolation = serializable',
      'RESET ALL',
      'DISCARD ALL',
      'DEALLOCATE ALL',
      'PREPARE p AS SELECT 1',
    ]) {
      assert.equal(targetOf(text), 'follower', text);
      await standby.query(text);
    }
  });

  test('what a standby refuses is sent to the leader, or run there after the refusal', async () => {
    const refused: Record<string, 'known' | 'learned'> = {
      "SELECT nextval('app.q')": 'known',
      'SELECT txid_current()': 'known',
      'SELECT pg_current_wal_lsn()': 'known',
      'SELECT * FROM app.t FOR KEY SHARE': 'known',
      'WITH x AS (INSERT INTO app.t VALUES (3) RETURNING a) SELECT * FROM x': 'known',
      'SELECT 1 INTO app.other': 'known',
      'SELECT lo_create(0)': 'known',
      'SELECT pg_advisory_lock(1), writer() FROM (SELECT app.writer()) AS s': 'known',
      'LISTEN a': 'known',
      'SET transaction_read_only = off': 'known',
      'EXPLAIN ANALYZE DELETE FROM app.t': 'known',
      'SELECT app.liar()': 'learned',
      'SELECT * FROM app.quick': 'learned',
    };
    for (const [text, how] of Object.entries(refused)) {
      assert.equal(targetOf(text), how === 'known' ? 'leader' : 'follower', text);
      const error = await standby.query(text).then(
        () => null,
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof DatabaseError, text);
      if (how === 'known') continue;
      const { severity = '', code = '', file = null, routine = null } = error;
      const fields = { severity, sqlState: code, file, routine };
      const failure = { work: 'read', role: 'follower', transaction: 'none', sent: true, passedOn: false } as const;
      assert.deepEqual(recoveryOf({ ...failure, undone: false, attempts: 1, error: fields }), {
        kind: 'retry-on-leader',
        learn: true,
      });
    }
  });
});

async function connect(port: number): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port, user: 'postgres', password: 'postgres', database: 'postgres' });
  await client.connect();
  return client;
}

/** A standby of `server` beside its folder, as the folder's owner. */
async function startStandby(
  programs: string,
  server: TestServer,
): Promise<{ port: number; stop: () => Promise<void> }> {
  const { uid, gid } = await stat(server.folder);
  const identity = { ...(process.getuid?.() === 0 ? { uid, gid } : {}), cwd: server.folder };
  const data = join(server.folder, 'standby');
  const [port = 0] = await freePorts(1);
  const source = ['-h', server.folder, '-p', String(server.port), '-U', 'postgres'];
  await promisify(execFile)(
    join(programs, 'pg_basebackup'),
    [...source, '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync'],
    identity,
  );
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    `unix_socket_directories=${server.folder}`,
    'fsync=off',
  ];
  const child = spawn(join(programs, 'postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    ...identity,
    stdio: 'ignore',
  });
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const client = await connect(port).catch(() => null);
    await client?.end();
    if (client !== null) break;
    await delay(50);
  }
  return {
    port,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      await exited;
    },
  };
}
