import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from 'pg';
import { parseTerm } from '../../common/lsn.ts';
import { RewindFailed } from '../../election/postgres/errors.ts';
import { freePorts } from '../support/ports.ts';
import { connect, inTerm, makeNode, type Node, PASSWORD, signal, timed, until } from '../support/postgres-node.ts';

/** E15, on two real servers: `a` leads term 1 and `b` follows it; the tests run in order. */
const folder = mkdtempSync(join(tmpdir(), 'leasehold-followers-'));
chmodSync(folder, 0o755);
const REFUSED = { code: '28000' };

let a: Node;
let b: Node;

/** As a WAL receiver or pg_basebackup logs in. */
async function replicate(node: Node): Promise<void> {
  const { host, port } = node.peer;
  const login = { user: 'leasehold_replication', password: PASSWORD, replication: 'true' };
  const client = new Client({ host, port, ...login } as object);
  client.on('error', () => undefined);
  await client.connect();
  await client.query('IDENTIFY_SYSTEM');
  await client.end();
}

/** As pg_rewind does. */
async function readFiles(node: Node): Promise<void> {
  await (await connect(node, 'leasehold_replication', PASSWORD, 'postgres')).end();
}

describe('who may take WAL from whom', () => {
  before(async () => {
    const [portA, portB] = (await freePorts(2)) as [number, number];
    const parameters = {
      max_slot_wal_keep_size: '16MB',
      wal_keep_size: '0',
      max_wal_size: '32MB',
      min_wal_size: '32MB',
    };
    a = makeNode(folder, 'node-a', portA, { parameters });
    b = makeNode(folder, 'node-b', portB);
    await a.server.initialise(signal());
    await a.server.start({ role: 'leader', peer: null }, signal());
    await a.server.setSynchronous([], 0, signal());
    await a.server.ensureSlots(parseTerm(1), ['node-b'], signal());
    await b.server.clone(inTerm(a, 1), null, signal());
    await b.server.start({ role: 'follower', peer: inTerm(a, 1) }, signal());
    await until(b, 'streams', (one) => one.receiver.streaming);
  });

  after(async () => {
    await a?.server.killNow();
    await b?.server.killNow();
    rmSync(folder, { recursive: true, force: true });
  });

  test('a server that follows admits no follower, no copy and no rewind, open to clients or not', async () => {
    await replicate(a);
    await readFiles(a);
    for (const open of [false, true]) {
      await b.server.openToClients(open, signal());
      await assert.rejects(replicate(b), REFUSED);
      await assert.rejects(readFiles(b), REFUSED);
    }
  });

  test('a follower streams by the slot of the very term that it was told, and is cut off when that one goes', async () => {
    const log = () => readFileSync(join(`${b.dataDir}.leasehold`, 'postgres.log'), 'utf8');
    await b.server.follow(inTerm(a, 7), signal());
    await until(b, 'refused', () => log().includes('replication slot "leasehold_t7_node_b" does not exist'));
    assert.equal((await b.server.sample(signal()))?.receiver.streaming, false);
    await a.server.ensureSlots(parseTerm(7), ['node-b'], signal());
    await until(b, 'streams in term 7', (one) => one.receiver.streaming);
    await a.server.ensureSlots(parseTerm(8), ['node-b'], signal());
    await until(a, 'has nobody', (one) => one.standbys.length === 0);
    await b.server.follow(inTerm(a, 8), signal());
    await until(b, 'streams in term 8', (one) => one.receiver.streaming);
  });

  test('the slot of a follower that was away for too much WAL is made anew, and a clone streams by it', async () => {
    await b.server.stop('fast', signal());
    await a.server.openToClients(true, signal());
    const client = await connect(a, 'postgres', 'postgres', 'postgres');
    const lost = async () => {
      await client.query(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000)), pg_switch_wal()`);
      await client.query('CHECKPOINT');
      const { rows } = await client.query(`SELECT wal_status FROM pg_replication_slots WHERE slot_name LIKE '%node_b'`);
      return rows[0]?.wal_status === 'lost';
    };
    for (let segments = 0; !(await lost()); segments++) assert.ok(segments < 20, 'the slot is never lost');
    await a.server.ensureSlots(parseTerm(8), ['node-b'], signal());
    await client.end();
    await b.server.clone(inTerm(a, 8), null, signal());
    await b.server.start({ role: 'follower', peer: inTerm(a, 8) }, signal());
    await until(b, 'streams by the new slot', (one) => one.receiver.streaming);
  });

  test('a follower that is promoted admits followers when it is out of recovery, and has their slots', async () => {
    await a.server.killNow();
    await b.server.follow(null, signal());
    const slots = b.server.ensureSlots(parseTerm(9), ['node-a'], signal());
    await Promise.all([slots, timed('promote', () => b.server.promote(signal()))]);
    await replicate(b);
    await readFiles(b);
    await b.server.setSynchronous([], 0, signal());
  });

  test('an old leader that starts again admits nobody, and follows the new one by a slot of its term', async () => {
    await a.server.start({ role: 'follower', peer: null }, signal());
    await assert.rejects(replicate(a), REFUSED);
    await assert.rejects(readFiles(a), REFUSED);
    await a.server.follow(inTerm(b, 9), signal());
    await until(a, 'streams in term 9', (one) => one.receiver.streaming);
  });

  test('nothing is cloned or rewound from a server that does not lead', async () => {
    await b.server.stop('fast', signal());
    await assert.rejects(b.server.rewind(inTerm(a, 9), signal()), RewindFailed);
    await assert.rejects(b.server.clone(inTerm(a, 9), null, signal()), /pg_hba|rejects|reject/);
    assert.equal((await b.server.inspect(signal())).kind, 'data');
  });
});
