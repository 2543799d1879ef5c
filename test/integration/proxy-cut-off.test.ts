import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Client } from 'pg';
import { connectTo, until, untilServedBy } from '../support/consistency.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** What a proxy does that etcd does not answer any more, while the leader lives on and others write there. */
describe('a proxy that is cut off from etcd', () => {
  let cluster: ProxyCluster;
  const clients: Client[] = [];
  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1 });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int, v int); GRANT ALL ON t TO app');
    await cluster.sql('node1', 'INSERT INTO t SELECT i, 0 FROM generate_series(1, 4) i');
  });
  after(async () => {
    cluster?.etcd.resume();
    await Promise.allSettled(clients.map((client) => client.end()));
    await cluster?.[Symbol.asyncDispose]();
  });

  async function began(row: number): Promise<Client> {
    const client = await connectTo(cluster.port);
    clients.push(client);
    await client.query('BEGIN');
    await client.query('UPDATE t SET v = v + 1 WHERE i = $1', [row]);
    return client;
  }

  test('ends open transactions after two lease times, so that their locks hold up nobody; not a COMMIT on its way', async () => {
    const [idle, asking, committing] = [await began(1), await began(2), await began(3)];
    await cluster.sql('node1', "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    await until(async () => (await cluster.sql('node1', 'SHOW synchronous_standby_names')) === 'nobody');
    const commit = committing.query('COMMIT');
    await until(
      async () =>
        (await cluster.sql('node1', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")) === '1',
    );
    cluster.etcd.pause();
    // Its last statement waits for a leader that is confirmed.
    const asked = (async () => {
      for (;;) await asking.query('SELECT v FROM t WHERE i = 2');
    })().catch((error: unknown) => error);
    const update = "SET lock_timeout = '20s'; SET synchronous_commit = local; UPDATE t SET v = 10 WHERE i < 3";
    await cluster.sql('node1', update);
    const lost = {
      code: '40001',
      message: 'the transaction was lost with its server, and was rolled back',
      detail: /^For \d\.\d s this proxy could not confirm that its server still leads: etcd cannot be reached since/,
    };
    await assert.rejects(idle.query('UPDATE t SET v = v + 1 WHERE i = 1'), lost);
    const error = await asked;
    assert.throws(() => {
      throw error;
    }, lost);
    await idle.query('ROLLBACK');
    await untilServedBy(idle, 'SELECT v FROM t WHERE i = 1', (node) => node === 'node2');
    assert.equal((await idle.query('SELECT v FROM t WHERE i = 1')).rows[0].v, 10);
    await cluster.sql('node1', 'ALTER SYSTEM RESET synchronous_standby_names');
    await cluster.sql('node1', 'SELECT pg_reload_conf()');
    await commit;
    assert.equal(await cluster.sql('node1', 'SELECT v FROM t WHERE i = 3'), '1');
  });
});
