import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ClientError } from '../../common/errors.ts';
import { parseTerm } from '../../common/lsn.ts';
import type { LeaderPass, LeaderTarget, LeaseView } from './types.ts';
import { createWriteGate } from './write-gate.ts';

class FakeLease implements LeaseView {
  readonly view = {
    route: null,
    members: new Map(),
    proxies: new Map(),
    history: new Map(),
    pause: null,
    settings: null,
    confirmedAtMs: 0,
  };
  #target: LeaderTarget | null = null;
  #listeners = new Set<() => void>();
  leader = () => this.#target;
  stillLeads = () => this.#target !== null;
  explain = () => "term 7's leader node2 was lost 31 s ago, election under way";
  subscribe(listener: () => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  close = () => Promise.resolve();
  set(seq: number | null) {
    this.#target = seq === null ? null : { term: parseTerm(seq), node: 'node1', host: '::1', port: 5432, seq };
    for (const listener of this.#listeners) listener();
  }
}

const clock = { nowMs: () => performance.now() };
const never = new AbortController().signal;

function setUp(options: { deadlineMs?: number; maxHeld?: number } = {}) {
  const lease = new FakeLease();
  const gate = createWriteGate({
    lease,
    clock,
    limits: () => ({ deadlineMs: options.deadlineMs ?? 1000, maxHeld: options.maxHeld ?? 10 }),
  });
  return { lease, gate };
}

describe('the write gate', () => {
  it('lets leader work through while the route is open, and counts it until it leaves, once', async () => {
    const { lease, gate } = setUp();
    assert.equal(gate.tryEnter(), null);
    lease.set(1);
    const first = gate.tryEnter();
    const second = await gate.enter(never);
    assert.equal(first?.node, 'node1');
    assert.equal(gate.inFlight, 2);
    first?.leave();
    first?.leave();
    assert.equal(gate.inFlight, 1);
    second.leave();
    assert.equal(gate.inFlight, 0);
  });

  it('refuses at the deadline with 57P03, and says what is known', async () => {
    const { gate } = setUp({ deadlineMs: 40 });
    await assert.rejects(gate.enter(never), (error: unknown) => {
      assert.ok(error instanceof ClientError);
      assert.equal(error.sqlState, '57P03');
      assert.equal(error.safeToRetry, true);
      assert.match(error.message, /^no leader accepts writes: waited 0\.\d s; term 7's leader node2 was lost 31 s ago/);
      return true;
    });
    assert.equal(gate.held, 0);
  });

  it('follows its limits when they change', async () => {
    const limits = { deadlineMs: 60_000, maxHeld: 1 };
    const gate = createWriteGate({ lease: new FakeLease(), clock, limits: () => limits });
    const abort = new AbortController();
    const held = gate.enter(abort.signal);
    limits.maxHeld = 2;
    limits.deadlineMs = 20;
    await assert.rejects(gate.enter(never), (error: unknown) => (error as ClientError).sqlState === '57P03');
    abort.abort(new Error('enough'));
    await assert.rejects(held, /enough/);
  });

  it('refuses more than it may hold with 53300', async () => {
    const { lease, gate } = setUp({ maxHeld: 1 });
    const held = gate.enter(never);
    await assert.rejects(gate.enter(never), (error: unknown) => (error as ClientError).sqlState === '53300');
    lease.set(1);
    (await held).leave();
  });

  it('forgets work whose signal aborts while it is held', async () => {
    const { lease, gate } = setUp();
    const abort = new AbortController();
    const held = gate.enter(abort.signal);
    abort.abort(new Error('client gone'));
    await assert.rejects(held, /client gone/);
    assert.equal(gate.held, 0);
    lease.set(1);
    assert.equal(gate.inFlight, 0);
  });

  it('refuses what it holds when it is closed', async () => {
    const { gate } = setUp();
    const held = gate.enter(never);
    gate.close();
    await assert.rejects(held, (error: unknown) => (error as ClientError).sqlState === '57P01');
    assert.equal(gate.tryEnter(), null);
  });

  it('tells its listeners when the last work in flight has left', () => {
    const { lease, gate } = setUp();
    let calls = 0;
    gate.subscribe(() => {
      calls++;
    });
    lease.set(1);
    const a = gate.tryEnter();
    const b = gate.tryEnter();
    a?.leave();
    assert.equal(calls, 1);
    b?.leave();
    assert.equal(calls, 2);
  });

  it('keeps the order of arrival and its counts, whatever the failovers between (property)', async () => {
    const event = fc.oneof(
      fc.constant({ type: 'enter' as const }),
      fc.record({ type: fc.constant('abort' as const), which: fc.nat(20) }),
      fc.record({ type: fc.constant('leave' as const), which: fc.nat(20) }),
      fc.constant({ type: 'open' as const }),
      fc.constant({ type: 'lose' as const }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
        const { lease, gate } = setUp({ maxHeld: 1000, deadlineMs: 60_000 });
        const aborts: AbortController[] = [];
        const admitted: { arrival: number; pass: LeaderPass }[] = [];
        let aborted = 0;
        let seq = 0;
        for (const one of events) {
          if (one.type === 'enter') {
            const arrival = aborts.length;
            const abort = new AbortController();
            aborts.push(abort);
            gate.enter(abort.signal).then(
              (pass) => admitted.push({ arrival, pass }),
              () => {
                aborted++;
              },
            );
          } else if (one.type === 'abort') aborts[one.which]?.abort();
          else if (one.type === 'leave') admitted[one.which]?.pass.leave();
          else lease.set(one.type === 'open' ? ++seq : null);
          await Promise.resolve();
        }
        lease.set(++seq);
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(gate.held, 0);
        assert.equal(admitted.length + aborted, aborts.length, 'every held statement ends (I12)');
        const order = admitted.map((one) => one.arrival);
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
        );
        for (const { pass } of admitted) pass.leave();
        assert.equal(gate.inFlight, 0);
        gate.close();
      }),
      { numRuns: 200 },
    );
  });
});
