import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type Client, DatabaseError } from 'pg';
import { type Lsn, parseTerm } from '../../common/lsn.ts';
import { formatToken } from '../../proxy/routing/token.ts';
import {
  connectTo,
  nodeOf,
  pauseReplay,
  resumeReplay,
  show,
  startProxy,
  until,
  untilServedBy,
} from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

const HOLD = { hold: { deadlineMs: 1200 } };
const TOKEN = 'leasehold.token';
const isFollower = (node: string): boolean => node !== 'node1';

describe('leasehold.token carries what a session has seen to another proxy', () => {
  let cluster: ProxyCluster;
  let other: Awaited<ReturnType<typeof startProxy>>;
  let writer: Client;
  let reader: Client;
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 2, proxy: HOLD });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON t TO app; INSERT INTO t VALUES (0)');
    other = await startProxy(cluster, 'proxy2', HOLD);
  });
  after(async () => {
    await Promise.allSettled([writer?.end(), reader?.end(), other?.stop()]);
    await cluster?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await Promise.allSettled([writer?.end(), reader?.end()]);
    await resumeReplay(cluster, ...['node2', 'node3'].filter((node) => node !== cluster.leader && cluster.term === 1n));
    writer = await connectTo(cluster.port);
    reader = await connectTo(other.port);
  });

  const largest = async (client: Client): Promise<number> =>
    (await client.query('SELECT max(i) AS n FROM t')).rows[0].n as number;
  /** Both followers stand still behind a write of `writer`, and `reader` sees them so. */
  async function writeBehind(value: number): Promise<void> {
    await untilServedBy(reader, 'SELECT max(i) FROM t', isFollower);
    await pauseReplay(cluster, 'node2', 'node3');
    await writer.query('INSERT INTO t VALUES ($1)', [value]);
  }

  test('without the token another proxy may show what was before, with it never; the leader serves while nobody else can', async () => {
    await writeBehind(10);
    assert.ok((await largest(reader)) < 10, 'the followers were to be behind');
    const token = await show(writer, TOKEN);
    await reader.query(`SET leasehold.token = '${token}'`);
    assert.equal(await largest(reader), 10);
    assert.equal(await nodeOf(reader), 'node1');
    await resumeReplay(cluster, 'node3');
    await untilServedBy(reader, 'SELECT max(i) FROM t', (node) => node === 'node3');
    assert.equal(await largest(reader), 10);
  });

  test('a token is exact: a follower that has replayed it serves at once', async () => {
    await writer.query('INSERT INTO t VALUES (11)');
    const token = await show(writer, TOKEN);
    await reader.query(`SET leasehold.token = '${token}'`);
    assert.equal(await largest(reader), 11);
    await untilServedBy(reader, 'SELECT max(i) FROM t', isFollower);
    // Others go on writing; what the token names is there, and that is enough.
    await pauseReplay(cluster, 'node2', 'node3');
    await writer.query('INSERT INTO t VALUES (12)');
    const late = await connectTo(other.port);
    await late.query(`SET leasehold.token = '${token}'`);
    await late.query('SELECT max(i) FROM t');
    assert.ok(isFollower(await nodeOf(late)));
    await late.end();
  });

  test('a token covers what the session has read, whoever wrote it', async () => {
    await untilServedBy(reader, 'SELECT max(i) FROM t', isFollower);
    await pauseReplay(cluster, 'node2', 'node3');
    await cluster.sql('node1', 'INSERT INTO t VALUES (20)'); // behind the proxies' backs
    assert.equal((await writer.query('/* leasehold: leader */ SELECT max(i) AS n FROM t')).rows[0].n, 20);
    const token = await show(writer, TOKEN);
    await reader.query(`SET leasehold.token = '${token}'`);
    assert.equal(await largest(reader), 20);
  });

  test('a token never lowers a floor, and neither RESET nor ROLLBACK does', async () => {
    const old = await show(writer, TOKEN);
    await writeBehind(30);
    await reader.query(`SET leasehold.token = '${await show(writer, TOKEN)}'`);
    await reader.query(`SET leasehold.token = '${old}'`);
    await reader.query('RESET leasehold.token');
    assert.equal(await largest(reader), 30);
    const another = await connectTo(other.port);
    await another.query('BEGIN');
    await another.query(`SET leasehold.token = '${await show(writer, TOKEN)}'`);
    await another.query('ROLLBACK');
    assert.equal(await largest(another), 30);
    await another.end();
  });

  test('a token is taken from the connection’s options, by set_config, and in the extended protocol', async () => {
    await writeBehind(40);
    const { rows } = await writer.query({ name: 'token', text: `SHOW ${TOKEN}`, values: [] });
    const token = rows[0][TOKEN] as string;
    assert.match(token, /^lh1\.1\.[0-9a-f]+\.[0-9a-f]{8}$/);
    const byOptions = await connectTo(other.port, { options: `-c ${TOKEN}=${token}` });
    const byFunction = await connectTo(other.port);
    await byFunction.query(`SELECT set_config('${TOKEN}', '${token}', false)`);
    const byExtended = await connectTo(other.port);
    await byExtended.query({ name: 'raise', text: `SET ${TOKEN} = '${token}'`, values: [] });
    for (const client of [byOptions, byFunction, byExtended]) {
      assert.equal(await largest(client), 40);
      await client.end();
    }
    assert.match((await writer.query(`SELECT current_setting('${TOKEN}') AS t`)).rows[0].t, /^lh1\./);
  });

  const refused = async (token: string): Promise<DatabaseError> => {
    const error = await reader.query(`SET leasehold.token = '${token}'`).catch((reason: unknown) => reason);
    assert.ok(error instanceof DatabaseError);
    return error;
  };

  test('a token that is none is refused with 22023, one of the future with 55000 after a bounded wait', async () => {
    assert.equal((await refused('16/B374D848')).code, '22023');
    assert.match(
      (await refused(formatToken({ term: parseTerm(1), lsn: 1n as Lsn }, 'other'))).detail ?? '',
      /another cluster/,
    );
    const startedAt = Date.now();
    const later = await refused(formatToken({ term: parseTerm(9), lsn: 1n as Lsn }, 'main'));
    assert.equal(later.code, '55000');
    assert.match(later.message, /of term 9, and this proxy has heard of none after 1/);
    assert.ok(Date.now() - startedAt >= 1100);
    const beyond = await refused(formatToken({ term: parseTerm(1), lsn: 0xffffffffffffn as Lsn }, 'main'));
    assert.equal(beyond.code, '55000');
    assert.match(beyond.message, /ahead of the leader of its own term 1/);
    const options = await connectTo(other.port, { options: `-c ${TOKEN}=nonsense` }).catch((reason: unknown) => reason);
    assert.equal((options as DatabaseError).code, '22023');
    assert.equal(await largest(reader).then((n) => n > 0), true); // the session lives on
  });

  test('in a failed transaction nothing is told, and an invalid token fails a transaction', async () => {
    await reader.query('BEGIN');
    await reader.query('SELECT 1');
    assert.equal((await refused('nonsense')).code, '22023');
    await assert.rejects(reader.query(`SHOW ${TOKEN}`), { code: '25P02' });
    await assert.rejects(reader.query('SELECT 1'), { code: '25P02' });
    await reader.query('ROLLBACK');
    assert.match(await show(reader, TOKEN), /^lh1\./);
  });

  test('a token outlives a failover: what it covers is on the new leader, and on followers once these have it', async () => {
    await writer.query('INSERT INTO t VALUES (50)');
    await untilServedBy(writer, 'SELECT max(i) FROM t', isFollower);
    await pauseReplay(cluster, 'node3');
    const token = await show(writer, TOKEN);
    await cluster.killLeader();
    await cluster.releaseLeader();
    await assert.rejects(writer.query(`SHOW ${TOKEN}`), { code: '57P03' });
    await cluster.promote('node2');
    await until(async () => (await cluster.sql('node2', 'SELECT pg_is_in_recovery()')) === 'f', 'node2 leads');
    await reader.query(`SET leasehold.token = '${token}'`);
    assert.equal(await largest(reader), 50);
    assert.equal(await nodeOf(reader), 'node2');
    // Of the position's number nothing follows any more: the old term's may lie behind the fork.
    const unreachable = formatToken({ term: parseTerm(1), lsn: 0xffffffffffffn as Lsn }, 'main');
    await reader.query(`SET leasehold.token = '${unreachable}'`);
    assert.match(await show(reader, TOKEN), /^lh1\.2\./);
  });
});
