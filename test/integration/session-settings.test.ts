import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client, type ClientConfig } from 'pg';
import { Clients } from '../support/clients.ts';
import { ProxyCluster } from '../support/proxy-cluster.ts';

/** Settings follow their session over servers, and reach nobody else: also those that no statement shows. One connection for each node. */
describe('settings of sessions that share servers', () => {
  let cluster: ProxyCluster;
  const clients = new Clients(() => cluster.url);
  const connect = (more?: ClientConfig) => clients.connect(more);

  before(async () => {
    cluster = await ProxyCluster.start({ followers: 1, proxy: { pool: { size: 1 } } });
    await cluster.sql('node1', 'GRANT ALL ON SCHEMA public TO app');
  });
  after(async () => {
    await clients.end();
    await cluster[Symbol.asyncDispose]();
  });

  /** On the leader, and there alone. */
  async function tenantOf(client: Client): Promise<string | null> {
    const { rows } = await client.query("SELECT txid_current(), current_setting('app.tenant', true) AS tenant");
    return rows[0].tenant || null;
  }

  async function pinsOf(client: { processID: number }): Promise<string | null | undefined> {
    const console = new Client({ connectionString: cluster.url.replace(/app$/, 'leasehold') });
    await console.connect();
    const { rows } = await console.query('SHOW CLIENTS');
    await console.end();
    return rows.find(({ id }) => Number(id) === client.processID)?.pins;
  }

  async function leakTo(setter: (client: Client) => Promise<unknown>): Promise<string | null> {
    const first = await connect();
    await setter(first);
    await first.end();
    const second = await connect();
    try {
      return await tenantOf(second);
    } finally {
      await second.end();
    }
  }

  test('a SET that was rolled back is not recorded, and one that was committed is', async () => {
    const client = await connect();
    await client.query("SET app.tenant = 'kept'");
    for (const end of ['ROLLBACK', 'ROLLBACK TO a']) {
      await client.query('BEGIN');
      await client.query('SAVEPOINT a');
      await client.query("SET app.tenant = 'undone'");
      await client.query(end);
      if (end !== 'ROLLBACK') await client.query('COMMIT');
      assert.equal(await tenantOf(client), 'kept', end);
    }
    await client.query('BEGIN');
    await client.query("SET app.tenant = 'committed'");
    await client.query('COMMIT');
    const other = await connect();
    assert.equal(await tenantOf(other), null);
    assert.equal(await tenantOf(client), 'committed');
    await Promise.all([client.end(), other.end()]);
  });

  test('set_config with bound parameters, by pg_catalog too, holds for its session and for nobody else', async () => {
    for (const text of ['SELECT set_config($1, $2, false)', 'SELECT pg_catalog.set_config($1, $2, false)']) {
      const client = await connect();
      await client.query(text, ['app.tenant', 'bound']);
      assert.equal(await tenantOf(client), 'bound');
      await client.end();
      const other = await connect();
      assert.equal(await tenantOf(other), null);
      await other.end();
    }
    const local = await connect();
    await local.query('BEGIN');
    await local.query('SELECT set_config($1, $2, true)', ['app.tenant', 'local']);
    assert.equal(await tenantOf(local), 'local');
    await local.query('COMMIT');
    assert.equal(await tenantOf(local), null);
    assert.equal(await pinsOf(local), '');
    await local.end();
  });

  test('set_config that was prepared by SQL', async () => {
    const execute = async (client: Client): Promise<void> => {
      await client.query("PREPARE s AS SELECT set_config('app.tenant', 'prepared', false)");
      await client.query('EXECUTE s');
      assert.equal(await tenantOf(client), 'prepared');
    };
    assert.equal(await leakTo(execute), null);
  });

  test('what a DO block sets stays with its session; a DO block that sets nothing does not pin', async () => {
    const set = async (client: Client): Promise<void> => {
      await client.query("DO $$ BEGIN PERFORM set_config('app.tenant', 'done', false); END $$");
      assert.equal(await tenantOf(client), 'done');
    };
    assert.equal(await leakTo(set), null);
    assert.equal(await leakTo((client) => client.query("DO $$ BEGIN SET app.tenant = 'done'; END $$")), null);
    const plain = await connect();
    await plain.query('CREATE TABLE IF NOT EXISTS dones (i int)');
    await plain.query('DO $$ BEGIN UPDATE dones SET i = 1; SET LOCAL app.tenant = 1; END $$');
    assert.equal(await pinsOf(plain), '');
    await plain.end();
  });

  test('what a function sets is seen by its session where the call is seen, and never by another one', async () => {
    const owner = await connect();
    await owner.query(`CREATE FUNCTION set_tenant(v text) RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN PERFORM set_config('app.tenant', v, false); END $$`);
    await owner.query(`CREATE PROCEDURE set_tenant_too(v text) LANGUAGE plpgsql AS
      $$ BEGIN EXECUTE format('SET app.tenant = %L', v); END $$`);
    await owner.query(`CREATE FUNCTION hidden() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM set_tenant('trigger'); RETURN new; END $$`);
    await owner.query('CREATE TABLE triggers (i int)');
    await owner.query('CREATE TRIGGER hidden BEFORE INSERT ON triggers FOR EACH ROW EXECUTE FUNCTION hidden()');
    await owner.end();
    for (let i = 0; ; i++) {
      const client = await connect();
      await client.query("SELECT set_tenant('called')");
      assert.equal(await tenantOf(client), 'called');
      const pins = await pinsOf(client);
      await client.end();
      if (pins === 'session-state') break;
      assert.ok(i < 100, `the catalog does not know it: ${pins}`);
    }
    const called = async (client: Client): Promise<void> => {
      await client.query("CALL set_tenant_too('procedure')");
      assert.equal(await tenantOf(client), 'procedure');
    };
    assert.equal(await leakTo(called), null);
    assert.equal(await leakTo((client) => client.query('INSERT INTO triggers VALUES (1)')), null);
  });

  test('start-up options, ALTER ROLE and ALTER DATABASE are defaults that RESET returns to', async () => {
    const client = await connect({ options: '-c app.tenant=start --work-mem=5MB -c search_path=a,\\ b' });
    const shown = async (name: string): Promise<string> =>
      Object.values((await client.query(`SHOW ${name}`)).rows[0])[0] as string;
    assert.deepEqual(
      [await tenantOf(client), await shown('work_mem'), await shown('search_path')],
      ['start', '5MB', 'a, b'],
    );
    await client.query("SET app.tenant = 'mine'; SET work_mem = '6MB'");
    await client.query('RESET ALL');
    assert.deepEqual([await tenantOf(client), await shown('work_mem')], ['start', '5MB']);
    await client.end();
  });

  test('RESET means the start-up parameters within a transaction as well, and a rollback takes it back', async () => {
    const client = await connect({ options: '-c app.tenant=start --work-mem=5MB' });
    const shown = async (): Promise<unknown[]> =>
      Object.values(
        (await client.query("SELECT current_setting('app.tenant') AS a, current_setting('work_mem') AS b")).rows[0],
      );
    const say = async (...texts: string[]): Promise<void> => {
      for (const text of texts) await client.query(text).catch(({ code }) => assert.equal(code, '22012'));
    };
    await say("SET app.tenant = 'mine'; SET work_mem = '6MB'", 'BEGIN', 'RESET work_mem');
    assert.deepEqual(await shown(), ['mine', '5MB']);
    await say('RESET ALL');
    assert.deepEqual(await shown(), ['start', '5MB']);
    await say("SET LOCAL work_mem = '7MB'", 'SET LOCAL work_mem TO DEFAULT');
    assert.deepEqual(await shown(), ['start', '5MB']);
    await say('ROLLBACK');
    assert.deepEqual(await shown(), ['mine', '6MB']);
    await say('RESET ALL; SELECT 1/0');
    assert.deepEqual(await shown(), ['mine', '6MB']);
    await say('BEGIN', 'SAVEPOINT a', 'RESET ALL', 'ROLLBACK TO a');
    assert.deepEqual(await shown(), ['mine', '6MB']);
    await say('RESET ALL', 'COMMIT');
    const other = await connect();
    assert.equal(await tenantOf(other), null);
    assert.deepEqual(await shown(), ['start', '5MB']);
    await Promise.all([client.end(), other.end()]);
  });

  test('a change of ALTER ROLE and ALTER DATABASE counts at once for who connects then, on every node', async () => {
    const shown = async (): Promise<string[]> => {
      const client = await connect();
      const read = async (hint: string): Promise<string> =>
        (await client.query(`/* leasehold: ${hint} */ SELECT current_setting('work_mem') AS v`)).rows[0].v;
      const both = [await read('leader'), await read('follower')];
      await client.end();
      return both;
    };
    const before = await shown();
    for (const value of ['7MB', '8MB', '9MB']) {
      await cluster.sql('node1', `ALTER ROLE app SET work_mem = '${value}'`);
      assert.deepEqual(await shown(), [value, value]);
      assert.deepEqual(await shown(), [value, value]);
    }
    await cluster.sql('node1', "ALTER ROLE app RESET work_mem; ALTER DATABASE app SET work_mem = '11MB'");
    assert.deepEqual(await shown(), ['11MB', '11MB']);
    await cluster.sql('node1', 'ALTER DATABASE app RESET work_mem');
    assert.deepEqual(await shown(), before);
  });

  test('the role follows, and is gone for the next client', async () => {
    await cluster.sql('node1', 'CREATE ROLE other; GRANT other TO app');
    const client = await connect();
    await client.query('SET ROLE other');
    const who = async (of: Client): Promise<unknown> =>
      (await of.query('SELECT txid_current(), current_user AS who')).rows[0].who;
    const second = await connect();
    for (let i = 0; i < 2; i++) assert.deepEqual([await who(client), await who(second)], ['other', 'app']);
    await client.query('RESET ROLE');
    assert.equal(await who(client), 'app');
    await Promise.all([client.end(), second.end()]);
  });
});
