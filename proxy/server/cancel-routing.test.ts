import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import type { ProxyRecord } from '../../election/store/records.ts';
import { acceptClient } from '../auth/accept.ts';
import { type CancelKey, CancelKeys, mayHaveGiven } from '../auth/cancel-keys.ts';
import { CancelRouter } from './cancel-routing.ts';

const logger = pino({ level: 'silent' });
const verifiers = { lookup: async () => null, role: async () => null, close: async () => {} };

interface TestProxy {
  readonly id: string;
  readonly keys: CancelKeys;
  readonly router: CancelRouter;
  readonly server: Server;
  received: number;
}

describe('a cancel request that reaches another proxy than the one that gave the key', () => {
  const records = new Map<string, ProxyRecord>();
  const proxies = new Map<string, TestProxy>();
  const stop = new AbortController();

  before(async () => {
    for (const id of ['proxy1', 'proxy2', 'proxy3']) {
      const keys = new CancelKeys(id);
      const router = new CancelRouter({ proxyId: id, keys, proxies: () => records, logger, wrongKeyMs: 20 });
      const proxy: TestProxy = { id, keys, router, server: createServer(), received: 0 };
      proxy.server.on('connection', (socket) => {
        const options = { verifiers, tls: null, tlsRequired: false, timeoutMs: 1000, signal: stop.signal };
        void acceptClient(socket, options).then(async (outcome) => {
          assert.ok(outcome.kind === 'cancel');
          proxy.received += 1;
          await router.route(outcome);
          outcome.close();
        });
      });
      proxy.server.listen(0, '127.0.0.1');
      await once(proxy.server, 'listening');
      const port = (proxy.server.address() as { port: number }).port;
      proxies.set(id, proxy);
      record(id, port);
    }
  });
  after(() => {
    for (const { server } of proxies.values()) server.close();
  });

  function record(id: string, port: number): void {
    const address = { host: '127.0.0.1', port };
    records.set(id, { id, address, httpUrl: '', appliedSeq: 0, heldWrites: 0, inFlight: 0 });
  }

  test('goes to the process that drains, where another one of the same proxy has its port', async () => {
    const old = proxy('proxy1');
    let cancelled = 0;
    const key = old.keys.give(0, (done) => {
      cancelled += 1;
      done();
    });
    const port = (old.server.address() as { port: number }).port;
    const address = { host: '127.0.0.1', port: 1 };
    const common = { id: 'proxy1', address, httpUrl: '', appliedSeq: 0, heldWrites: 0, inFlight: 0 };
    const records = new Map<string, ProxyRecord>([
      ['proxy1.new', common],
      ['proxy1.old', { ...common, draining: true, cancelAddress: { host: '127.0.0.1', port } }],
    ]);
    const successor = new CancelKeys('proxy1');
    const router = new CancelRouter({ proxyId: 'proxy1', keys: successor, proxies: () => records, logger });
    await router.route(key);
    assert.equal(cancelled, 1);
    old.keys.revoke(key);
  });

  function proxy(id: string): TestProxy {
    return proxies.get(id) as TestProxy;
  }

  async function routed(at: string, key: CancelKey): Promise<number[]> {
    const before = [...proxies.values()].map((each) => each.received);
    await proxy(at).router.route(key);
    return [...proxies.values()].map((each, index) => each.received - (before[index] as number));
  }

  test('is passed on to that one and no other, and has been carried out when the client is told', async () => {
    for (const minor of [0, 2] as const) {
      for (const serverId of [undefined, 4711]) {
        let cancelled = 0;
        const target = (done: () => void): void => {
          cancelled += 1;
          done();
        };
        const key = proxy('proxy2').keys.give(minor, target, serverId);
        assert.deepEqual(await routed('proxy1', key), [0, 1, 0]);
        assert.equal(cancelled, 1);
        proxy('proxy2').keys.revoke(key);
      }
    }
  });

  test('with a wrong secret has no effect, and is passed on once at most', async () => {
    const key = proxy('proxy2').keys.give(0, () => assert.fail('the secret was wrong'));
    const guess = { processId: key.processId, secretKey: Buffer.from([1, 2, 3, 4]) };
    assert.deepEqual(await routed('proxy1', guess), [0, 1, 0]);
    assert.deepEqual(await routed('proxy2', guess), [0, 0, 0]);
  });

  test('with the hash of no proxy goes nowhere', async () => {
    for (const serverId of [undefined, 4711]) {
      const key = new CancelKeys('stranger').give(2, () => assert.fail('it cannot arrive'), serverId);
      assert.ok([...proxies.keys()].every((id) => !mayHaveGiven(id, key)));
      assert.deepEqual(await routed('proxy1', key), [0, 0, 0]);
    }
  });

  test('with addresses that are wrong on both sides makes one hop, not a loop', async () => {
    const [first, third] = [records.get('proxy1'), records.get('proxy3')];
    const key = proxy('proxy2').keys.give(2, () => assert.fail('it cannot arrive'));
    record('proxy2', first?.address.port as number);
    assert.deepEqual(await routed('proxy3', key), [1, 0, 0]);
    assert.deepEqual(await routed('proxy1', key), [1, 0, 0]);
    record('proxy2', third?.address.port as number);
    assert.deepEqual(await routed('proxy1', key), [0, 0, 1]);
  });
});
