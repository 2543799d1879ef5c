import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { monotonicClock } from '../../common/clock.ts';
import { ClientError } from '../../common/errors.ts';
import { parseTerm } from '../../common/lsn.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseId, LeaseStore } from '../../election/store/port.ts';
import { decodeRecord, encodeRecord, leaderRecord, proxyRecord, routeRecord } from '../../election/store/records.ts';
import { createLeaseView } from '../../proxy/cluster/lease-view.ts';
import { createRegistration, type Registration } from '../../proxy/cluster/registration.ts';
import type { LeaseView } from '../../proxy/cluster/types.ts';
import { createWriteGate, type ObservableWriteGate } from '../../proxy/cluster/write-gate.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';

const TTL_MS = 3000;
const MARGIN_MS = 700;
const call = { deadlineMs: 2000 };
const keys = keysOf('main');
const logger = pino({ level: 'silent' });
const clock = monotonicClock;
const never = new AbortController().signal;

/** The test plays the leader's agent: it holds the leader key and writes the route. */
describe("the proxy's view of the lease, its gate and its registration, on a real etcd", () => {
  let etcd: TestEtcd;
  let agent: LeaseStore;
  let store: LeaseStore;
  let lease: LeaseView;
  let gate: ObservableWriteGate;
  let registration: Registration;
  let held: LeaseId;
  let seq = 0;
  let keepAlive: NodeJS.Timeout | undefined;

  before(async () => {
    etcd = await startEtcd();
    agent = createEtcdStore({ endpoints: [etcd.endpoint], logger });
    store = createEtcdStore({ endpoints: [etcd.endpoint], logger });
    const cluster = { store, cluster: 'main', proxyId: 'proxy1', ttlMs: TTL_MS, clock, logger };
    lease = createLeaseView({ ...cluster, marginMs: MARGIN_MS });
    gate = createWriteGate({ lease, clock, limits: () => ({ deadlineMs: 700, maxHeld: 10 }) });
    const address = { host: '127.0.0.1', port: 6432 };
    registration = createRegistration({ ...cluster, address, httpUrl: 'http://127.0.0.1:6480', lease, gate });
  });
  after(async () => {
    clearInterval(keepAlive);
    gate.close();
    await registration.close();
    await lease.close();
    await store.close();
    await agent.close();
    await etcd[Symbol.asyncDispose]();
  });

  async function acquire(node: string, term: number): Promise<void> {
    held = (await agent.grantLease(TTL_MS, call)).lease;
    const record = { node, term: parseTerm(term), bootId: 'b', address: { host: node, port: 5432 } };
    const value = encodeRecord(leaderRecord, record);
    await agent.transact({ compare: [], then: [{ type: 'put', key: keys.leader, value, lease: held }] }, call);
    clearInterval(keepAlive);
    keepAlive = setInterval(() => void agent.keepAlive(held, { deadlineMs: 350 }).catch(() => undefined), 500);
  }

  async function route(node: string, term: number, hold: boolean): Promise<number> {
    const record = {
      term: parseTerm(term),
      leader: node,
      address: { host: node, port: 5432 },
      hold,
      seq: ++seq,
      nextXid: null,
    };
    const value = encodeRecord(routeRecord, record);
    await agent.transact({ compare: [], then: [{ type: 'put', key: keys.route, value }] }, call);
    return seq;
  }

  async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 3000): Promise<number> {
    const start = performance.now();
    while (!(await condition())) {
      if (performance.now() - start > ms) assert.fail(`not within ${ms} ms: ${what}; ${lease.explain()}`);
      await sleep(2);
    }
    return performance.now() - start;
  }

  async function registered() {
    const stored = (await agent.readAll(keys.proxiesPrefix, call)).keys.get(keys.proxy('proxy1'));
    return stored === undefined ? null : decodeRecord(proxyRecord, stored.value);
  }

  async function refusal(): Promise<ClientError> {
    const error = await gate.enter(never).then(
      () => assert.fail('it was let in'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ClientError);
    return error;
  }

  it('registers the proxy, and refuses writes while there never was a leader', async () => {
    await until('registered', async () => (await registered()) !== null);
    assert.equal(lease.leader(), null);
    assert.match((await refusal()).message, /never had a leader/);
  });

  it('opens soon after the route does, since the lease was confirmed before', async () => {
    await acquire('node1', 1);
    await route('node1', 1, true);
    const entering = gate.enter(never);
    await sleep(200);
    assert.equal(gate.held, 1);
    assert.equal(lease.stillLeads(parseTerm(1)), true);
    await route('node1', 1, false);
    const opened = performance.now();
    const pass = await entering;
    assert.ok(performance.now() - opened < 50);
    assert.deepEqual([pass.node, pass.host, pass.term], ['node1', 'node1', 1n]);
    pass.leave();
  });

  it('acknowledges a hold when the work in flight has left, and starts none meanwhile', async () => {
    const pass = await gate.enter(never);
    const heldSeq = await route('node1', 1, true);
    await until('the hold is seen', () => lease.leader() === null);
    assert.equal(gate.tryEnter(), null);
    await sleep(150);
    assert.ok(((await registered())?.appliedSeq ?? 0) < heldSeq);
    pass.leave();
    const tookMs = await until('acknowledged', async () => (await registered())?.appliedSeq === heldSeq, 1000);
    assert.ok(tookMs < 100, `${tookMs} ms`);
    const openSeq = await route('node1', 1, false);
    await until('open again', async () => (await registered())?.appliedSeq === openSeq);
  });

  it('holds what comes between two leaders, and lets it go to the newer one', async () => {
    await agent.revokeLease(held, call);
    await until('the loss is seen', () => lease.leader() === null);
    assert.equal(lease.stillLeads(parseTerm(1)), false);
    assert.match(lease.explain(), /^term 1's leader node1 was lost \d\.\d s ago, election under way$/);
    const entering = gate.enter(never);
    await acquire('node2', 2);
    await until('the promotion is seen', () => /node2 took the lease for term 2/.test(lease.explain()));
    await route('node2', 2, true);
    await route('node2', 2, false);
    const pass = await entering;
    assert.deepEqual([pass.node, pass.term], ['node2', 2n]);
    pass.leave();
  });

  it('fails closed before the lease can have run out, when etcd does not answer, and opens again by itself', async () => {
    await until('a fresh confirmation', () => lease.leader() !== null);
    etcd.pause();
    const paused = performance.now();
    const closedAfterMs = await until('closed', () => lease.leader() === null, TTL_MS);
    assert.ok(closedAfterMs < TTL_MS - MARGIN_MS + 50, `${closedAfterMs} ms`);
    assert.match(
      (await refusal()).message,
      /etcd cannot be reached since \d\.\d s, so nobody can say whether term 2's leader node2/,
    );
    assert.ok(performance.now() - paused < 10_000);
    etcd.resume();
    await until('open again, or lost', () => lease.leader() !== null || /was lost/.test(lease.explain()), 5000);
    if (lease.leader() === null) {
      await acquire('node2', 3);
      await route('node2', 3, false);
    }
    (await gate.enter(never)).leave();
    await until('registered again', async () => (await registered())?.appliedSeq === seq, 6000);
  });

  it('does not trust a leader key that somebody put there without a lease, or for another term', async () => {
    const term = lease.view.route?.term ?? parseTerm(0);
    const record = { node: 'node2', term, bootId: 'b', address: { host: 'x', port: 1 } };
    const value = encodeRecord(leaderRecord, record);
    await agent.transact({ compare: [], then: [{ type: 'put', key: keys.leader, value }] }, call);
    await until('closed', () => lease.leader() === null);
    await acquire('node2', Number(term) + 1);
    await sleep(700);
    assert.equal(lease.leader(), null);
  });

  it('withdraws its record when it is closed', async () => {
    await registration.close();
    assert.equal(await registered(), null);
  });
});
