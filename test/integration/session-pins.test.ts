import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { Clients } from '../support/clients.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** A session keeps its server as long as something of it is there, and not longer (ROUTING.md). */
describe('pins', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = () => clients.connect();

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1 });
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  async function pinsOf(client: { processID: number }): Promise<string> {
    const console = new Client({ connectionString: cluster.url.replace(/app$/, 'leasehold') });
    await console.connect();
    const { rows } = await console.query('SHOW CLIENTS');
    await console.end();
    return rows.find(({ id }) => Number(id) === client.processID)?.pins;
  }

  /** Whether anything is left there the server is asked after the answer has gone out. */
  async function isFree(client: { processID: number }, after: string): Promise<void> {
    for (let i = 0; (await pinsOf(client)) !== ''; i++) {
      assert.ok(i < 100, `still kept after ${after}: ${await pinsOf(client)}`);
      await sleep(20);
    }
  }

  const CASES: Readonly<Record<string, readonly (readonly [statement: string, pins: string])[]>> = {
    'a temporary table, until it is dropped': [
      ['CREATE TEMP TABLE a (i int)', 'temporary-objects'],
      ['INSERT INTO a VALUES (1)', 'temporary-objects'],
      ['CREATE TEMP VIEW v AS SELECT * FROM a', 'temporary-objects'],
      ['DROP VIEW v', 'temporary-objects'],
      ['DROP TABLE a', ''],
    ],
    'temporary objects, until DISCARD TEMP': [
      ['CREATE TEMP SEQUENCE s', 'temporary-objects'],
      ['DISCARD TEMP', ''],
    ],
    'ON COMMIT DROP': [
      ['BEGIN', ''],
      ['CREATE TEMP TABLE b (i int) ON COMMIT DROP', 'temporary-objects'],
      ['INSERT INTO b VALUES (1)', 'temporary-objects'],
      ['COMMIT', ''],
    ],
    'what was made and rolled back': [
      ['BEGIN', ''],
      ['CREATE TEMP TABLE c (i int)', 'temporary-objects'],
      ['LISTEN c', 'temporary-objects,listen'],
      ['ROLLBACK', ''],
    ],
    'LISTEN, until UNLISTEN of the last channel': [
      ['LISTEN a', 'listen'],
      ['LISTEN b', 'listen'],
      ['UNLISTEN a', 'listen'],
      ['UNLISTEN b', ''],
    ],
    'advisory locks, stacked, until the last is given back': [
      ['SELECT pg_advisory_lock(1)', 'advisory-lock'],
      ['SELECT pg_catalog.pg_advisory_lock(1), pg_try_advisory_lock_shared(2)', 'advisory-lock'],
      ['SELECT pg_advisory_unlock(1)', 'advisory-lock'],
      ['SELECT pg_advisory_unlock(1)', 'advisory-lock'],
      ['SELECT pg_advisory_unlock_shared(2)', ''],
      ['SELECT pg_advisory_lock(1)', 'advisory-lock'],
      ['SELECT pg_advisory_unlock_all()', ''],
    ],
    'locks of a transaction do not pin': [
      ['SELECT pg_advisory_xact_lock(1)', ''],
      ['SELECT pg_try_advisory_xact_lock(1)', ''],
    ],
    'a cursor WITH HOLD, until it is closed': [
      ['BEGIN', ''],
      ['DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 3)', 'held-cursor'],
      ['COMMIT', 'held-cursor'],
      ['FETCH 2 FROM h', 'held-cursor'],
      ['CLOSE h', ''],
    ],
    'state that no statement takes away but DISCARD ALL': [
      ['SELECT setseed(0.5)', 'session-state'],
      ['DISCARD ALL', ''],
    ],
    'PREPARE does not pin': [
      ['PREPARE p AS SELECT 1', ''],
      ['EXECUTE p', ''],
      ['DEALLOCATE p', ''],
    ],
  };

  for (const [name, steps] of Object.entries(CASES)) {
    test(name, async () => {
      const client = await connect();
      for (const [statement, pins] of steps) {
        await client.query(statement);
        if (pins === '') await isFree(client, statement);
        assert.equal(await pinsOf(client), pins, statement);
      }
      await client.end();
    });
  }

  test('a failed try-lock does not pin', async () => {
    const holder = await connect();
    await holder.query('SELECT pg_advisory_lock(9)');
    const client = await connect();
    const { rows } = await client.query('SELECT pg_try_advisory_lock(9) AS got');
    assert.equal(rows[0].got, false);
    assert.equal(await pinsOf(client), '');
    await holder.query('SELECT pg_advisory_unlock(9)');
    assert.equal(await pinsOf(holder), '');
  });

  test('a notification reaches a client that is idle, at once', async () => {
    const client = await connect();
    const heard = new Promise((resolve) => client.once('notification', ({ payload }) => resolve(payload)));
    await client.query('LISTEN news');
    await (await connect()).query("NOTIFY news, 'now'");
    assert.equal(await heard, 'now');
  });
});
