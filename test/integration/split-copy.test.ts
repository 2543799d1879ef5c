import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bind, execute, query, SYNC } from '../../proxy/wire/encode.ts';
import { Clients } from '../support/clients.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';
import { RawClient } from '../support/raw-client.ts';
import { COPY_DONE, copyData, parse } from '../support/steps.ts';

/** One server connection for all: what a message that was cut in two leaves there, the next client meets. */
describe('COPY data that are under way when the COPY fails', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 1 } } });
    await cluster.sql('node1', 'CREATE TABLE public.t (i int); GRANT ALL ON public.t TO app');
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  /** Through the pool's only connection to the leader: which process serves it, and what is to be found there. */
  async function nextClient(): Promise<{ pid: number; smuggled: string | null }> {
    const client = await clients.connect();
    const sql = "SELECT pg_backend_pid() AS pid, to_regclass('smuggled') AS smuggled, txid_current()";
    const { pid, smuggled } = (await client.query(sql)).rows[0];
    await client.end();
    return { pid, smuggled };
  }

  const WAYS = {
    'by a Query': { begun: [query('COPY t FROM STDIN')], ends: [COPY_DONE] },
    'in the extended protocol': {
      begun: [parse('', 'COPY t FROM STDIN'), bind('', ''), execute(''), SYNC],
      ends: [COPY_DONE, SYNC],
    },
  };
  const cut = copyData('7\n'.repeat(50_000));
  /** What an attacker puts where a server that lost count would look for a message. */
  const hidden = query('CREATE TABLE smuggled (i int)').toString('latin1').replaceAll('\0', '');

  for (const [how, { begun, ends }] of Object.entries(WAYS)) {
    test(`${how}: the rest of a message follows, and the connection serves the next client`, async () => {
      const { pid } = await nextClient();
      await using raw = await RawClient.connect(cluster);
      raw.send(...begun);
      await raw.read('G');
      raw.send(copyData('no number\n'), cut.subarray(0, 60_000));
      assert.match((await raw.read('E'))[0] ?? '', /22P02/);
      raw.send(cut.subarray(60_000), ...ends, query(`SELECT '${hidden}' AS shown`));
      const heard = await raw.read('C');
      assert.ok(!heard.some((line) => line.startsWith('E')), heard.join('\n'));
      await raw.read('Z');
      assert.deepEqual(await nextClient(), { pid, smuggled: null });
    });

    test(`${how}: nobody else gets the connection while the rest is missing, and it ends with its client`, async () => {
      const { pid } = await nextClient();
      const raw = await RawClient.connect(cluster);
      raw.send(...begun);
      await raw.read('G');
      raw.send(copyData('no number\n'), cut.subarray(0, 60_000));
      await raw.read('E');
      const next = nextClient();
      assert.equal(await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))]), 'waits');
      raw.close();
      const served = await next;
      assert.notEqual(served.pid, pid);
      assert.equal(served.smuggled, null);
    });
  }
});
