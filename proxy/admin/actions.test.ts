import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import type { Term } from '../../common/lsn.ts';
import { keysOf } from '../../election/store/keys.ts';
import { createMemoryStore } from '../../election/store/memory.ts';
import {
  encodeRecord,
  historyRecord,
  type PauseRecord,
  type SyncRecord,
  syncRecord,
} from '../../election/store/records.ts';
import { exampleStatus, member } from '../../test/support/proxy-status.ts';
import { createClusterActions, noSuccessor } from './actions.ts';
import { askAgent } from './agents.ts';

const keys = keysOf('main');
const call = { deadlineMs: 100 };

function sync(changes: Partial<SyncRecord> = {}): SyncRecord {
  return { term: 7n as Term, leader: 'node1', members: ['node2'], k: 1, ...changes };
}

describe('what an operator asks of the cluster', () => {
  const seen: string[] = [];
  const bodies: string[] = [];
  let agent: Server;
  let apiUrl = '';
  let agentAnswers = 200;
  const store = createMemoryStore(() => performance.now());

  before(async () => {
    agent = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
        bodies.push(Buffer.concat(chunks).toString());
        response.writeHead(agentAnswers).end('{"message":"because","term":8,"loss":"some"}');
      });
    });
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
    apiUrl = `http://127.0.0.1:${(agent.address() as { port: number }).port}`;
  });
  after(() => agent.close());

  function actions(pause: PauseRecord | null = null) {
    const { view } = exampleStatus();
    const members = new Map([...view.members, ['node1', member('node1', 5001, { apiUrl })] as const]);
    return createClusterActions({
      store,
      cluster: 'main',
      view: () => ({ ...view, members, pause }),
      apiToken: 'secret',
    });
  }

  async function put(key: string, value: string): Promise<void> {
    await store.transact({ compare: [], then: [{ type: 'put', key, value }] }, call);
  }

  test('a switchover is put down once, and refused while another is under way', async () => {
    const done = await actions().switchover('node2');
    assert.deepEqual([done.from, done.to, done.term], ['node1', 'node2', 7]);
    const kept = (await store.readAll(keys.switchover, call)).keys.get(keys.switchover);
    assert.equal(JSON.parse(kept?.value ?? '{}').to, 'node2');
    await assert.rejects(actions().switchover(null), { status: 409, message: /another switchover/ });
    await assert.rejects(actions().switchover('node9'), { status: 404, message: /node1, node2/ });
    await assert.rejects(actions().switchover('node1'), { status: 409, message: /leader already/ });
  });

  test('a failover is refused while nobody could take over', async () => {
    await assert.rejects(actions().failover(), { status: 409, message: /no durability record/ });
    await put(keys.sync, encodeRecord(syncRecord, sync({ members: [], k: 0 })));
    await assert.rejects(actions().failover(), { status: 409, message: /no synchronous follower/ });
    assert.deepEqual(seen, []);
  });

  test('the agent is asked with the token, and its refusal is passed on', async () => {
    await put(keys.sync, encodeRecord(syncRecord, sync()));
    assert.deepEqual(await actions().failover(), { node: 'node1', term: 7 });
    assert.deepEqual(seen, ['POST /failover Bearer secret']);
    agentAnswers = 409;
    await assert.rejects(actions().failover(), { status: 409, message: 'because' });
    agentAnswers = 500;
    await assert.rejects(actions().failover(), { status: 502, message: /node1 answered 500: .*because/ });
    // Nobody listens where node2's agent is said to be.
    const gone = member('node2', 5002);
    await assert.rejects(askAgent(gone, 'crash', null), {
      status: 502,
      message: /agent of node2 .*does not answer/,
    });
  });

  test('a forced failover is asked of the named node’s agent, with who consents to it', async () => {
    agentAnswers = 200;
    const done = await actions().forceFailover('node1', 'ann@host');
    assert.deepEqual(done, { node: 'node1', term: 8, loss: 'some' });
    assert.deepEqual([seen.at(-1), bodies.at(-1)], ['POST /failover/forced Bearer secret', '{"by":"ann@host"}']);
    await assert.rejects(actions().forceFailover('node9', 'ann@host'), { status: 404, message: /node1, node2/ });
  });

  test('a pause is put down once with who and why, stops what would need a failover, and is taken back', async () => {
    const put = await actions().pause('ann@host', ' new\n switches ');
    assert.deepEqual([put.by, put.reason], ['ann@host', 'new switches']);
    await assert.rejects(actions().pause('bob', null), { status: 409, message: /paused already/ });
    const kept = (await store.readAll(keys.pause, call)).keys.get(keys.pause);
    assert.deepEqual(JSON.parse(kept?.value ?? '{}'), put);
    assert.deepEqual(await actions().resume(), { resumed: true });
    await assert.rejects(actions().resume(), { status: 409, message: /not paused/ });
    const paused = actions(put);
    await assert.rejects(paused.failover(), { status: 409, message: /paused by ann@host.*new switches.*resume/ });
  });

  test('settings are checked by the schema, merged with those there are, counted, and taken back', async () => {
    const set = (changes: object) => actions().settings(changes as Record<string, unknown>, 'ann@host');
    for (const [changes, message] of [
      [{}, /name a setting.*syncAcks, withoutFollower/],
      [{ syncAcks: 0 }, /syncAcks: .*/],
      [{ drillWindow: '3-4' }, /drillWindow: HH:MM-HH:MM/],
      [{ drillWindow: '03:00-04:00 Atlantis' }, /drillWindow: no time zone/],
      [{ drillWindow: '03:00-03:00' }, /drillWindow: a window that ends/],
      [{ drillMaxLagBytes: -1 }, /drillMaxLagBytes/],
      [{ withoutFollower: 'wait' }, /withoutFollower: /],
      [{ ttlMs: 4000 }, /ttlMs.*settings of the cluster are syncAcks/],
    ] as const) {
      await assert.rejects(set(changes), { status: 400, message });
    }
    const first = await set({ syncAcks: 2 });
    assert.deepEqual([first.version, first.by, first.settings], [1, 'ann@host', { syncAcks: 2 }]);
    const second = await set({ withoutFollower: 'hold' });
    assert.deepEqual([second.version, second.settings], [2, { syncAcks: 2, withoutFollower: 'hold' }]);
    const third = await set({ syncAcks: null });
    assert.deepEqual([third.version, third.settings], [3, { withoutFollower: 'hold' }]);
    await put(keys.config, 'nonsense');
    await assert.rejects(set({ syncAcks: 1 }), { status: 409, message: /cannot be read/ });
  });

  test('the history is given newest term first', async () => {
    for (const term of [1n, 2n, 10n]) {
      const record = {
        term: term as Term,
        leader: 'node1',
        previousLeader: null,
        reason: 'failover',
        timeline: Number(term),
        nextXid: null,
        at: '2026-01-01T00:00:00Z',
        detail: null,
      } as const;
      await put(keys.history(term), encodeRecord(historyRecord, record));
    }
    assert.deepEqual(
      (await actions().history()).map((entry) => entry.term),
      ['10', '2', '1'],
    );
  });
});

test('a successor needs as many streaming members as pledges would be needed', () => {
  const { view } = exampleStatus();
  assert.equal(noSuccessor(sync(), view), null);
  assert.match(noSuccessor(sync({ members: ['node2', 'node3'] }), view) ?? '', /1 of node2, node3 stream.*2 must/);
  assert.equal(noSuccessor(sync({ members: ['node2', 'node3'], k: 2 }), view), null);
});
