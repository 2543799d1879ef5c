import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { DrillRefusedByNode } from './agent/drill-faults.ts';
import { type NodeApi, RequestRefused, startNodeApi } from './api.ts';

describe("a node's HTTP API", () => {
  const calls: string[] = [];
  let api: NodeApi;
  const logger = pino({ level: 'silent' });
  const node = {
    status: () => ({ node: 'a', state: 'FOLLOWER' }),
    crash: async () => void calls.push('crash'),
    drill: async (fault: string, { seconds }: Readonly<Record<string, unknown>>) => {
      if (seconds === 99) throw new DrillRefusedByNode(400, 'too long');
      calls.push(`${fault} ${String(seconds)}`);
    },
    failover: () => Promise.reject(new Error('a bug')),
    force: async (by: string) => {
      if (by === 'somebody') throw new RequestRefused('node-b holds more');
      calls.push(by);
      return { term: 7, loss: 'some' };
    },
  };
  const ask = (path: string, init?: RequestInit) => fetch(`${api.url}${path}`, init);
  const authorised = { method: 'POST', headers: { authorization: 'Bearer secret' } };

  before(async () => {
    api = await startNodeApi({ host: '127.0.0.1', port: 0, token: 'secret', node, logger });
  });
  after(() => api.close());

  test('the status is open to all', async () => {
    const response = await ask('/status?x=1');
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { node: 'a', state: 'FOLLOWER' });
    assert.equal((await ask('/healthz')).status, 200);
  });

  test('an action needs the token', async () => {
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'secret' }]) {
      const response = await ask('/crash', { method: 'POST', headers: headers as Record<string, string> });
      assert.equal(response.status, 401);
      assert.equal(((await response.json()) as { error: string }).error, 'unauthorised');
    }
    assert.deepEqual(calls, []);
    assert.equal((await ask('/crash', authorised)).status, 200);
    assert.deepEqual(calls, ['crash']);
  });

  test('a drill that lasts says how long, and a refusal is passed on', async () => {
    calls.length = 0;
    const post = (body: string) => ask('/drill/partition', { ...authorised, body });
    assert.equal((await post('{"seconds":3}')).status, 200);
    assert.deepEqual(calls, ['partition 3']);
    const refused = await post('{"seconds":99}');
    assert.equal(refused.status, 400);
    assert.equal(((await refused.json()) as { message: string }).message, 'too long');
    assert.equal((await ask('/drill/freeze', { method: 'POST' })).status, 401);
    assert.deepEqual(calls, ['partition 3']);
  });

  test('an action that fails says why', async () => {
    const response = await ask('/failover', authorised);
    assert.equal(response.status, 500);
    assert.equal(((await response.json()) as { message: string }).message, 'a bug');
  });

  test('what the state of the cluster is against is a conflict, what is begun tells what it knows', async () => {
    const refused = await ask('/failover/forced', authorised);
    assert.deepEqual([refused.status, await refused.json()], [409, { error: 'refused', message: 'node-b holds more' }]);
    const begun = await ask('/failover/forced', {
      ...authorised,
      body: JSON.stringify({ by: 'Ann\n\u001b[1m on host' }),
    });
    assert.deepEqual(await begun.json(), { ok: true, term: 7, loss: 'some' });
    assert.equal(calls.at(-1), 'Ann [1m on host');
  });

  test('an unknown path, a wrong method and a large body are refused', async () => {
    assert.equal((await ask('/nothing')).status, 404);
    const wrong = await ask('/crash');
    assert.equal(wrong.status, 405);
    assert.equal(wrong.headers.get('allow'), 'POST');
    assert.equal((await ask('/crash', { ...authorised, body: 'x'.repeat(5000) })).status, 413);
  });

  test('without a token in the configuration nobody may act', async () => {
    const closed = await startNodeApi({ host: '127.0.0.1', port: 0, token: undefined, node, logger });
    const response = await fetch(`${closed.url}/crash`, { method: 'POST', headers: { authorization: 'Bearer ' } });
    assert.equal(response.status, 401);
    await closed.close();
  });

  test('a port in use is named', async () => {
    const again = startNodeApi({ host: '127.0.0.1', port: api.port, token: 'x', node, logger });
    await assert.rejects(again, new RegExp(`127\\.0\\.0\\.1:${api.port}: the port is in use`));
  });
});
