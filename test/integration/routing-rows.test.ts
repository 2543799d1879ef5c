import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Client, DatabaseError } from 'pg';
import { connectTo, nodeOf, startProxy, until } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { psql, roleOf, type Row, runRow } from '../support/routing-rows.ts';

/** ROUTING.md, "Where a statement goes": its first half, the statements outside of transactions. */
const SCHEMA = `
CREATE SCHEMA other; GRANT ALL ON SCHEMA public, other TO app;
CREATE TABLE t (i int, v text); CREATE TABLE sink (i int); CREATE SEQUENCE q; INSERT INTO t VALUES (1, 'one');
CREATE VIEW plain AS SELECT * FROM t; CREATE VIEW locked AS SELECT * FROM t FOR UPDATE;
CREATE FUNCTION reads() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM public.t';
CREATE FUNCTION writes() RETURNS void VOLATILE LANGUAGE sql AS 'INSERT INTO public.sink VALUES (1)';
CREATE FUNCTION either(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION either(text) RETURNS void VOLATILE LANGUAGE sql AS 'INSERT INTO public.sink VALUES (2)';
CREATE FUNCTION hidden() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION other.hidden() RETURNS void VOLATILE LANGUAGE sql AS 'INSERT INTO public.sink VALUES (3)';
CREATE FUNCTION plus(int, int) RETURNS int VOLATILE LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.sink VALUES ($1); RETURN 1; END';
CREATE OPERATOR !+! (LEFTARG = int, RIGHTARG = int, PROCEDURE = plus);
CREATE TYPE pair AS (a int, b int);
CREATE FUNCTION to_pair(int) RETURNS pair VOLATILE LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.sink VALUES ($1); RETURN (1, 2); END';
CREATE CAST (int AS pair) WITH FUNCTION to_pair(int);
CREATE FUNCTION checks(int) RETURNS bool VOLATILE LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.sink VALUES ($1); RETURN true; END';
CREATE DOMAIN checked AS int CHECK (checks(VALUE));
CREATE FUNCTION sly() RETURNS bigint STABLE LANGUAGE sql AS $$SELECT nextval('public.q')$$;
CREATE MATERIALIZED VIEW mat AS SELECT 1 AS i;
CREATE PROCEDURE proc() LANGUAGE sql AS 'INSERT INTO public.sink VALUES (4)';
ALTER TABLE t OWNER TO app; ALTER TABLE sink OWNER TO app; ALTER SEQUENCE q OWNER TO app;
ALTER MATERIALIZED VIEW mat OWNER TO app; GRANT ALL ON plain, locked TO app`;

const read = (name: string, ...steps: string[]): Row => ({ name: `${name} goes to a follower`, steps, at: 'follower' });
const lead = (name: string, ...steps: string[]): Row => ({ name: `${name} goes to the leader`, steps, at: 'leader' });

const ROWS: readonly Row[] = [
  read('a plain SELECT outside a transaction', 'SELECT * FROM t'),
  read('TABLE', 'TABLE t'),
  read('VALUES', 'VALUES (1), (2)'),
  read('a read of a plain view', 'SELECT * FROM plain'),
  { ...lead('a text that the parser rejects', 'SELECT FROM WHERE ;;)'), code: '42601' },
  {
    ...lead('a writing CTE', 'WITH w AS (INSERT INTO sink VALUES (10) RETURNING i) SELECT * FROM w'),
    effect: ['SELECT count(*) FROM sink WHERE i = 10', '1'],
  },
  {
    ...lead(
      'a writing CTE deep inside',
      'WITH a AS (WITH b AS (DELETE FROM sink WHERE i = 11 RETURNING i) SELECT * FROM b) SELECT (SELECT count(*) FROM a)',
    ),
    code: '0A000', // PostgreSQL wants it at the top level: its error, not a standby's
  },
  lead('SELECT FOR UPDATE', 'SELECT * FROM t FOR UPDATE'),
  lead('SELECT FOR NO KEY UPDATE', 'SELECT * FROM t FOR NO KEY UPDATE'),
  lead('SELECT FOR SHARE', 'SELECT * FROM t FOR SHARE'),
  lead('SELECT FOR KEY SHARE', 'SELECT * FROM t FOR KEY SHARE SKIP LOCKED'),
  lead('a locking read in a subquery', 'SELECT * FROM (SELECT * FROM t FOR UPDATE) AS s'),
  lead('a locking read in a CTE', 'WITH s AS (SELECT * FROM t FOR SHARE) SELECT count(*) FROM s'),
  lead('a locking read of a view', 'SELECT * FROM plain FOR UPDATE'),
  lead('a view that locks', 'SELECT * FROM locked'),
  lead('SELECT INTO', 'SELECT 1 AS i INTO made1'),
  lead('CREATE TABLE AS', 'CREATE TABLE made2 AS SELECT 1 AS i'),
  lead('CREATE MATERIALIZED VIEW', 'CREATE MATERIALIZED VIEW made3 AS SELECT 1 AS i'),
  lead('REFRESH MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW mat'),
  read('a stable function', 'SELECT reads()'),
  read(
    'volatile built-in functions that cannot write',
    'SELECT random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0)',
  ),
  { ...lead('a volatile function', 'SELECT writes()'), effect: ['SELECT count(*) FROM sink WHERE i = 1', '1'] },
  { ...lead('a call with any volatile candidate among its overloads', 'SELECT either(1)') },
  lead('a call that search_path could turn into a volatile one', 'SELECT hidden()'),
  read('a schema-qualified call of the stable one', 'SELECT public.hidden()'),
  lead('a schema-qualified call of the volatile one', 'SELECT other.hidden()'),
  {
    ...lead('an operator with a volatile function', 'SELECT 21!+!22'),
    effect: ['SELECT count(*) FROM sink WHERE i = 21', '1'],
  },
  {
    ...lead('a cast with a volatile function', 'SELECT 23::pair'),
    effect: ['SELECT count(*) FROM sink WHERE i = 23', '1'],
  },
  {
    ...lead('a domain whose check calls a volatile function', 'SELECT 24::checked'),
    effect: ['SELECT count(*) FROM sink WHERE i = 24', '1'],
  },
  lead('nextval', "SELECT nextval('q')"),
  lead('setval', "SELECT setval('q', 5)"),
  { ...lead('currval', "SELECT currval('q')"), code: '55000' },
  { ...lead('lastval', 'SELECT lastval()'), code: '55000' },
  lead('set_config with a value that is not known', "SELECT set_config('app.x', v, false) FROM t"),
  lead('pg_notify', "SELECT pg_notify('c', 'p')"),
  lead('lo_create', 'SELECT lo_create(0)'),
  lead('txid_current', 'SELECT txid_current()'),
  lead('pg_current_xact_id', 'SELECT pg_current_xact_id()'),
  lead('pg_export_snapshot', 'SELECT pg_export_snapshot()'),
  lead('an advisory lock', 'SELECT pg_advisory_xact_lock(1)'),
  lead('a schema-qualified advisory lock', 'SELECT pg_catalog.pg_try_advisory_lock(1)'),
  { ...lead('dblink', "SELECT dblink_exec('x', 'y')"), code: '42883' },
  lead('query_to_xml', "SELECT query_to_xml('SELECT 1', true, true, '')"),
  ...['INSERT INTO sink VALUES (30)', 'UPDATE sink SET i = i', 'DELETE FROM sink WHERE i = 30', 'TRUNCATE made4'].map(
    (sql) => lead(sql.split(' ')[0] as string, 'CREATE TABLE IF NOT EXISTS made4 (i int)', sql),
  ),
  lead('MERGE', 'MERGE INTO sink s USING t ON s.i = t.i WHEN MATCHED THEN DELETE'),
  lead('DDL', 'CREATE INDEX ON t (i)'),
  lead('GRANT', 'GRANT SELECT ON t TO PUBLIC'),
  lead('VACUUM', 'VACUUM t'),
  lead('ANALYZE', 'ANALYZE t'),
  lead('CLUSTER', 'CLUSTER t USING t_i_idx'),
  lead('REINDEX', 'REINDEX TABLE t'),
  { ...lead('LOCK', 'LOCK TABLE t'), code: '25P01' },
  lead('CALL', 'CALL proc()'),
  lead('DO', "DO 'BEGIN INSERT INTO sink VALUES (5); END'"),
  lead('NOTIFY', 'NOTIFY c'),
  read('EXPLAIN of a read', 'EXPLAIN SELECT * FROM t'),
  read('EXPLAIN ANALYZE of a read', 'EXPLAIN ANALYZE SELECT * FROM t'),
  lead('EXPLAIN of a write', 'EXPLAIN INSERT INTO sink VALUES (40)'),
  {
    ...lead('EXPLAIN ANALYZE of a write', 'EXPLAIN ANALYZE INSERT INTO sink VALUES (41)'),
    effect: ['SELECT count(*) FROM sink WHERE i = 41', '1'],
  },
  read('SHOW of a setting', 'SHOW work_mem'),
  lead('SHOW of what a server is', 'SHOW transaction_read_only'),
  lead('SHOW in_hot_standby', 'SHOW in_hot_standby'),
  lead('pg_is_in_recovery()', 'SELECT pg_is_in_recovery()'),
  lead('pg_stat_activity', 'SELECT count(*) FROM pg_stat_activity'),
  lead('pg_locks', 'SELECT count(*) FROM pg_catalog.pg_locks'),
  { ...lead('pg_last_wal_replay_lsn()', 'SELECT pg_last_wal_replay_lsn()') },
  lead('inet_server_addr()', 'SELECT inet_server_addr(), inet_server_port()'),
  read('a catalog that describes the database', 'SELECT count(*) FROM pg_class'),
  lead('a leader hint', '/* leasehold: leader */ SELECT 1'),
  read('a follower hint on a volatile function', '/* leasehold: follower */ SELECT either(1)'),
  lead('a write with a follower hint', '/* leasehold: follower */ INSERT INTO sink VALUES (50)'),
  read('a read behind another comment', '/* app */ -- x\n SELECT /* inside */ 1'),
  lead('a write behind a comment', '/* SELECT 1 */ -- SELECT\nINSERT INTO sink VALUES (51)'),
  read('several reads in one text', 'SELECT 1; SELECT 2'),
  lead('a read and a write in one text', 'SELECT 1; INSERT INTO sink VALUES (52)'),
  lead('a text that opens a transaction', 'BEGIN; SELECT 1; COMMIT'),
];

describe('where a statement goes', () => {
  let cluster: ProxyCluster;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1 });
    await cluster.sql('node1', SCHEMA);
    const client = await connectTo(cluster.port);
    // The catalog was read before the functions were made: until it is again, they are unknown.
    await client.query("CREATE FUNCTION seen() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    await until(async () => {
      await client.query('SELECT reads()');
      return (await nodeOf(client)) === 'node2';
    }, 'the catalog is read');
    await client.end();
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  for (const { name, steps, at, code, effect } of ROWS) {
    test(name, async () => {
      const served = await runRow(cluster, steps);
      assert.deepEqual({ at: served.at, code: served.code }, { at, code });
      if (effect !== undefined) assert.equal(await cluster.sql('node1', effect[0]), effect[1]);
      await served.client.end();
    });
  }

  test('a syntax error is PostgreSQL’s own, with its position', async () => {
    const client = await connectTo(cluster.port);
    const error = await client.query('SELECT 1 FRM t WHERE').catch((reason: unknown) => reason);
    assert.ok(error instanceof DatabaseError);
    assert.deepEqual([error.code, error.position, error.file], ['42601', '14', 'scan.l']);
    await client.end();
    const metrics = await (await fetch(`${cluster.proxy?.httpUrl}/metrics`)).text();
    assert.match(metrics, /leasehold_statements_total\{[^}]*"unparsed"[^}]*\} [1-9]/);
  });

  test('COPY FROM goes to the leader, COPY TO where its query goes', async () => {
    const node = 'SHOW leasehold.node';
    const out = await psql(cluster, 'COPY t TO STDOUT', node);
    assert.equal(out, '1\tone\nnode2');
    assert.match(await psql(cluster, 'COPY (SELECT * FROM t) TO STDOUT', node), /node2$/);
    assert.match(await psql(cluster, 'COPY (SELECT writes()) TO STDOUT', node), /node1$/);
    assert.equal(await psql(cluster, 'COPY (INSERT INTO sink VALUES (61) RETURNING i) TO STDOUT', node), '61\nnode1');
    assert.match(await psql(cluster, "\\copy sink FROM PROGRAM 'echo 60'", node), /node1$/);
    assert.equal(await cluster.sql('node1', 'SELECT count(*) FROM sink WHERE i IN (60, 61)'), '2');
  });

  test('a function that is mislabelled and writes runs on the leader after all, and is learned', async () => {
    const client = await connectTo(cluster.port);
    const served: string[] = [];
    for (let i = 0; i < 2; i += 1) {
      await client.query('SELECT sly()');
      served.push(roleOf(cluster, await nodeOf(client)));
    }
    assert.deepEqual(served, ['leader', 'leader']);
    const metrics = await (await fetch(`${cluster.proxy?.httpUrl}/metrics`)).text();
    assert.match(metrics, /"learned-write"[^}]*\} [1-9]/);
    await client.end();
  });

  test('currval and lastval never give what another session left, and do give the session’s own', async () => {
    const writer = await connectTo(cluster.port);
    await writer.query("SELECT nextval('q')");
    const client = await connectTo(cluster.port);
    await assert.rejects(client.query('SELECT lastval()'), { code: '55000' });
    const { rows } = await client.query("SELECT nextval('q') AS mine");
    await writer.query("SELECT nextval('q')");
    assert.equal((await client.query("SELECT currval('q') AS mine")).rows[0].mine, rows[0].mine);
    // Programs of this user ask for such values: from now on they have their own from the first write.
    const later = await connectTo(cluster.port);
    const own = (await later.query("SELECT nextval('q') AS mine")).rows[0].mine as string;
    await Promise.all([writer, client].map((each) => each.query("SELECT nextval('q')")));
    assert.equal((await later.query('SELECT lastval() AS mine')).rows[0].mine, own);
    await later.query('DISCARD SEQUENCES');
    await assert.rejects(later.query("SELECT currval('q')"), { code: '55000' });
    await Promise.all([writer, client, later].map((each) => each.end()));
  });

  test('DDL that changes no function leaves reads that call one on the followers', async () => {
    const client = await connectTo(cluster.port);
    for (const ddl of ['CREATE TABLE brief (i int)', 'CREATE INDEX ON brief (i)', 'DROP TABLE brief']) {
      await client.query(ddl);
      const { rows } = await client.query('EXPLAIN (ROUTE, FORMAT JSON) SELECT reads()');
      assert.equal((JSON.parse(rows[0].ROUTE as string) as { class: string }).class, 'read');
    }
    await client.end();
  });

  test('system catalogs are read on followers where the configuration says so', async () => {
    const other = await startProxy(cluster, 'proxy3', { routing: { systemCatalogs: 'follower' } });
    const client: Client = await connectTo(other.port);
    await until(async () => {
      const { rows } = await client.query('SELECT pg_is_in_recovery() AS standby');
      return rows[0].standby === true;
    }, 'a follower tells of itself');
    await client.end();
    await other.stop();
  });
});
