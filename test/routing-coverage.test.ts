import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

/**
 * Which tests hold the proxy to each row of the routing rules: a row whose test was renamed or taken away fails here. A name is the
 * text in a test file that names the test, or the part of it that a table of cases gives.
 */
const WHERE_A_STATEMENT_GOES: Readonly<Record<string, readonly string[]>> = {
  'plain reads': ['a plain SELECT outside a transaction', 'TABLE', 'VALUES', 'a read of a plain view'],
  'text that the parser rejects': [
    'a text that the parser rejects',
    'a syntax error is PostgreSQL’s own, with its position',
  ],
  'data-modifying CTE': ['a writing CTE', 'a writing CTE deep inside', 'a write in a CTE of a read'],
  'locking reads': [
    'SELECT FOR UPDATE',
    'SELECT FOR NO KEY UPDATE',
    'SELECT FOR SHARE',
    'SELECT FOR KEY SHARE',
    'a locking read in a subquery',
    'a locking read in a CTE',
    'a locking read of a view',
    'a view that locks',
  ],
  'SELECT INTO and what makes tables': [
    'SELECT INTO',
    'CREATE TABLE AS',
    'CREATE MATERIALIZED VIEW',
    'REFRESH MATERIALIZED VIEW',
  ],
  'function calls by the catalog’s volatility': [
    'a stable function',
    'a volatile function',
    'volatile built-in functions that cannot write',
    'a call with any volatile candidate among its overloads',
    'a call that search_path could turn into a volatile one',
    'a schema-qualified call of the stable one',
    'a schema-qualified call of the volatile one',
    'an operator with a volatile function',
    'a cast with a volatile function',
    'a domain whose check calls a volatile function',
    'a function that becomes volatile is noticed, also by its views',
    'functions, operators, aggregates, attributes, views and policies are known by what they call',
    'of this server’s volatile built-in functions only the harmless ones reach a follower, with a catalog or without',
  ],
  'functions that are the leader’s': [
    'nextval',
    'setval',
    'currval',
    'lastval',
    'pg_notify',
    'lo_create',
    'txid_current',
    'pg_current_xact_id',
    'pg_export_snapshot',
    'an advisory lock',
    'dblink',
    'query_to_xml',
    'set_config with a value that is not known',
    'currval and lastval never give what another session left, and do give the session’s own',
  ],
  'writes, DDL and utility commands': [
    'INSERT INTO sink VALUES (30)',
    'MERGE',
    'DDL',
    'GRANT',
    'VACUUM',
    'ANALYZE',
    'CLUSTER',
    'REINDEX',
    'LOCK',
    'CALL',
    'DO',
    'NOTIFY',
  ],
  COPY: ['COPY FROM goes to the leader, COPY TO where its query goes'],
  EXPLAIN: ['EXPLAIN of a read', 'EXPLAIN ANALYZE of a read', 'EXPLAIN of a write', 'EXPLAIN ANALYZE of a write'],
  SHOW: ['SHOW of a setting', 'SHOW of what a server is', 'SHOW in_hot_standby'],
  'SET and RESET': ['SET is undone by ROLLBACK and ROLLBACK TO, and applied to whichever server is next'],
  BEGIN: [
    'BEGIN is answered by the proxy and sent with the first statement',
    'an unmarked transaction',
    'a READ ONLY transaction',
    'SERIALIZABLE, READ ONLY',
    'SET TRANSACTION READ ONLY right after BEGIN',
    'SET TRANSACTION READ WRITE right after BEGIN READ ONLY',
  ],
  'inside an open transaction': ['a read in a transaction that wrote'],
  'what ends a transaction': [
    'COMMIT AND CHAIN’s next transaction',
    'SAVEPOINT, ROLLBACK TO and RELEASE work where the transaction is',
    'PREPARE TRANSACTION',
    'COMMIT PREPARED',
    'ROLLBACK PREPARED',
  ],
  'several statements in one text': [
    'several reads in one text',
    'a read and a write in one text',
    'a text that opens a transaction',
  ],
  'Parse up to Sync': ['Parse to Sync is one unit on one node: the strongest of its statements decides'],
  'a Query in an unsynced sequence': ['a simple Query in the middle of an unsynced sequence follows the unit'],
  'PREPARE, EXECUTE, DEALLOCATE': [
    'EXECUTE of a prepared write',
    'what SQL prepared is executed, and is gone after DEALLOCATE',
  ],
  cursors: ['a cursor in a transaction', 'a cursor in a READ ONLY transaction', 'a cursor WITH HOLD'],
  LISTEN: ['LISTEN'],
  'temporary objects': [
    'a temporary table',
    'a table in pg_temp',
    'a temporary view',
    'a temporary sequence',
    'a search_path with pg_temp',
    'the server that had temporary objects is not given to anybody else',
  ],
  'session advisory locks': [
    'a failed pg_try_advisory_lock pins only until the server was asked, and stacked locks until the last is gone',
    'a schema-qualified advisory lock',
  ],
  'session state': ['setseed', 'CREATE EXTENSION', 'LOAD'],
  'DISCARD and RESET ALL': [
    'RESET ALL returns to what the client connected with; DISCARD ALL ends everything kept, and the pin',
  ],
  'replication connections': ['replication connections reach the leader one to one'],
  'what describes a node': [
    'pg_is_in_recovery()',
    'pg_stat_activity',
    'pg_locks',
    'pg_last_wal_replay_lsn()',
    'inet_server_addr()',
    'system catalogs are read on followers where the configuration says so',
  ],
  hints: ['a leader hint', 'a follower hint on a volatile function', 'a write with a follower hint'],
  'EXPLAIN (ROUTE)': [
    'EXPLAIN (ROUTE) tells where a statement would go, and runs nothing',
    'EXPLAIN (ROUTE) is told as JSON, through the extended protocol, of several statements, with the reason in words',
  ],
  'refusals and conflicts': [
    'a function that is mislabelled and writes runs on the leader after all, and is learned',
    'a read that a follower refuses as a write runs once on the leader, and is learned',
    'a read that replay cancels runs again elsewhere, and its client does not notice',
  ],
};

const CONSISTENCY: Readonly<Record<string, readonly string[]>> = {
  eventual: [
    'eventual reads from a follower that is late, and even right after its own commit',
    'eventual does not read from a follower beyond max_staleness',
  ],
  session: [
    'session sees its own commits, others’ reads stay on the late followers',
    'session never reads older data than it has read, from whichever node',
    'session stays monotonic over a follower that is started anew',
    'reads stay monotonic, and see the session’s writes, over a failover; without a leader they go on',
  ],
  database: ['database sees what any session of this proxy was told is committed'],
  strong: ['strong reads from the leader, whoever wrote and wherever'],
  'no follower qualifies': [
    'a read that finds no follower fresh enough waits for one up to causal_wait, then the leader serves it',
  ],
  token: [
    'without the token another proxy may show what was before, with it never; the leader serves while nobody else can',
    'a token outlives a failover: what it covers is on the new leader, and on followers once these have it',
  ],
};

const KNOWN_MISTAKES: Readonly<Record<string, readonly string[]>> = {
  'a write taken for a read': [
    'a writing CTE',
    'a locking read in a CTE',
    'nextval',
    'a volatile function',
    'a text that the parser rejects',
  ],
  'SET transaction_read_only = off sent to a standby': [
    'SET transaction_read_only = off by itself',
    'SET transaction_read_only = off in a READ ONLY transaction',
  ],
  'comments that turn balancing off': ['a read behind another comment', 'a comment inside a statement'],
  'BEGIN around everything starves the followers': [
    'a framework’s BEGIN under SET SESSION CHARACTERISTICS READ ONLY',
    'BEGIN under default_transaction_read_only',
  ],
  'double execution under split': ['nothing runs twice: whatever way a write takes, it is there once'],
  'a stale leader, role flapping, a proxy that never notices the failover': [
    'does not trust a leader key that somebody put there without a lease, or for another term',
    'autocommit writes are held and go on; none that was acknowledged is lost; no session ends',
  ],
  'a dead transaction replayed, or told with an internal code': ['a transaction gets 40001 and the session goes on'],
  'texts that open and close transactions': [
    'a text that begins a transaction, then SAVEPOINT, EXECUTE and ROLLBACK TO',
    'a text that writes, begins and writes, then ROLLBACK',
    'COMMIT AND CHAIN within a text',
    'VACUUM in a batch',
    'an error in a text undoes all of it, but for what it committed',
  ],
  'a SET that was rolled back, or leaked': [
    'SET is undone by ROLLBACK and ROLLBACK TO, and applied to whichever server is next',
    'settings follow the session, and do not leak to others',
    'settings beyond those that the proxy keeps do not stay on a follower',
  ],
  'locks that pin for ever, or stay behind': [
    'a failed pg_try_advisory_lock pins only until the server was asked, and stacked locks until the last is gone',
    'a schema-qualified advisory lock',
    'a lock that was taken by a statement that failed keeps the session on its server',
    'with an advisory lock and a listener',
  ],
  'names of prepared statements': [
    'named statements',
    'equal texts of two sessions get one server name, other texts and other databases another',
    'named statements work on whichever server answers, and are shared',
    'a statement name that several clients use means to each what it prepared, at the same time and one after another',
    'names of one client mean nothing to another',
  ],
  'multi-statement prepared pgbench scripts': [
    'pgbench with -M prepared: a script of many statements, and several of them in one (\\\\;) as by the server itself',
  ],
  'Flush without Sync, COPY followed by Sync, a Query in a sequence': [
    'Flush without Sync is answered at once',
    'COPY in and out',
    'the Sync that was sent along with a COPY FROM gets no answer',
    'a simple query in the middle of an unsynced sequence',
  ],
  'a dump that does not work': [
    'pg_dump through the proxy gives what it gives directly, and what it gives restores to the same',
  ],
};

const QUOTES = ["'", '"', '`'];
const ROOT = resolve(import.meta.dirname, '..');
const texts = ['common', 'election', 'replication-monitor', 'proxy', 'ops', 'test'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('routing-coverage.test.ts'))
    .map((path) => readFileSync(join(ROOT, folder, path), 'utf8')),
);

for (const [part, rows] of Object.entries({ WHERE_A_STATEMENT_GOES, CONSISTENCY, KNOWN_MISTAKES })) {
  for (const [row, names] of Object.entries(rows)) {
    test(`${part.toLowerCase().replaceAll('_', ' ')}: the tests of "${row}" are there`, () => {
      assert.deepEqual(
        names.filter((name) => !texts.some((text) => QUOTES.some((quote) => text.includes(`${quote}${name}${quote}`)))),
        [],
      );
    });
  }
}
