import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  afterFollower,
  afterLeader,
  NOTHING_SETTLED,
  type Running,
  type Settled,
  underNewLeader,
  withoutPending,
} from './settled.ts';

const running = (sentAtMs: number, xmax: number, ...xids: number[]): Running => ({
  sentAtMs,
  xmax: BigInt(xmax),
  xids: xids.map(BigInt),
});
const asked = (settled: Settled): Running => settled.running ?? assert.fail('the leader was not asked');
const names = (settled: Settled, node: string, xids: number[] | null, freshAsOfMs = -Infinity): Settled =>
  afterFollower(settled, node, { asked: asked(settled), committed: xids?.map(BigInt) ?? null }, freshAsOfMs);
const asOf = (settled: Settled, node: string): number => settled.nodes.get(node)?.asOfMs ?? -Infinity;

describe('what a follower has shown is settled', () => {
  it('as of the question to the leader, where the follower shows nothing that the leader was running', () => {
    const settled = names(afterLeader(NOTHING_SETTLED, running(10, 100, 97)), 'b', []);
    assert.deepEqual([asOf(settled, 'b'), settled.everywhereMs], [10, -Infinity]);
  });

  it('only when the leader has ended what the follower shows, also what lies beyond its snapshot', () => {
    let settled = names(afterLeader(NOTHING_SETTLED, running(10, 100, 97)), 'b', [97, 101]);
    assert.equal(asOf(settled, 'b'), -Infinity);
    settled = afterLeader(settled, running(20, 101));
    assert.equal(asOf(settled, 'b'), -Infinity);
    settled = afterLeader(settled, running(30, 105, 101));
    assert.equal(asOf(settled, 'b'), -Infinity);
    settled = afterLeader(settled, running(40, 105, 103));
    assert.equal(asOf(settled, 'b'), 10);
  });

  it('everywhere as of when the follower had replayed all that there was, if that is not after the question', () => {
    const leader = afterLeader(NOTHING_SETTLED, running(10, 100));
    assert.equal(names(leader, 'b', [], 7).everywhereMs, 7);
    assert.equal(names(leader, 'b', [], 12).everywhereMs, 10);
  });

  it('not where the follower has too much to name', () => {
    const settled = names(afterLeader(NOTHING_SETTLED, running(10, 100)), 'b', null, 10);
    assert.deepEqual([asOf(settled, 'b'), settled.everywhereMs], [-Infinity, -Infinity]);
  });

  it('under a new leader as far as it was, and nothing of the old one’s transactions', () => {
    let settled = names(afterLeader(NOTHING_SETTLED, running(10, 100)), 'b', []);
    settled = underNewLeader(names(afterLeader(settled, running(20, 100, 99)), 'b', [99]));
    settled = afterLeader(settled, running(30, 90));
    assert.equal(asOf(settled, 'b'), 10);
  });

  it('no further after its connection was lost with something open', () => {
    let settled = withoutPending(names(afterLeader(NOTHING_SETTLED, running(10, 100, 99)), 'b', [99]), 'b');
    settled = afterLeader(settled, running(20, 101));
    assert.equal(asOf(settled, 'b'), -Infinity);
  });

  it('again and again while the quorum is slow and commits never cease', () => {
    let settled = NOTHING_SETTLED;
    for (let n = 0; n < 50; n++) {
      // Of each ten commits that the follower shows, the last ones are still running on the leader.
      const xids = Array.from({ length: 5 }, (_, i) => n + 95 - i);
      settled = afterLeader(settled, running(n, n + 96, ...xids));
      settled = names(settled, 'b', xids);
      if (n > 10) assert.ok(asOf(settled, 'b') >= n - 10, `${asOf(settled, 'b')} at ${n}`);
    }
  });

  it('never before the leader has ended all that was shown by then, and in the end completely (property)', () => {
    const step = fc.oneof(
      fc.constant({ type: 'begin' as const }),
      fc.record({ type: fc.constant('insert' as const), which: fc.nat(20) }),
      fc.record({ type: fc.constant('end' as const), which: fc.nat(20) }),
      fc.record({ type: fc.constant('abort' as const), which: fc.nat(20) }),
      fc.record({ type: fc.constant('replay' as const), node: fc.constantFrom('b', 'c'), count: fc.nat(4) }),
      fc.constant({ type: 'ask-leader' as const }),
      fc.record({ type: fc.constant('ask' as const), node: fc.constantFrom('b', 'c') }),
      fc.record({ type: fc.constant('answer' as const), node: fc.constantFrom('b', 'c') }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), (steps) => {
        const model = new Model();
        for (const one of steps) {
          model.nowMs += 1;
          if (one.type === 'begin') model.begin();
          else if (one.type === 'insert') model.insert(one.which);
          else if (one.type === 'end') model.end(one.which);
          else if (one.type === 'abort') model.abort(one.which);
          else if (one.type === 'replay') model.replay(one.node, one.count);
          else if (one.type === 'ask-leader') model.askLeader();
          else if (one.type === 'ask') model.ask(one.node);
          else model.answer(one.node);
          model.check();
        }
        model.finish();
      }),
      { numRuns: 500 },
    );
  });
});

/** A leader and two followers: a commit is inserted, then replayed or ended in either order. */
class Model {
  nowMs = 0;
  settled = NOTHING_SETTLED;
  #next = 100;
  readonly #running = new Set<number>();
  readonly #inserted = new Set<number>();
  readonly #ended = new Set<number>();
  readonly #marks: { readonly sentAtMs: number; readonly at: number }[] = [];
  readonly #wal: { readonly xid: number; readonly committed: boolean }[] = [];
  readonly #followers = new Map(
    ['b', 'c'].map((node) => [
      node,
      { replayed: 0, shown: new Map<number, number>(), inFlight: null as Answer | null },
    ]),
  );

  begin(): void {
    this.#running.add(this.#next++);
  }

  insert(which: number): void {
    const xid = pick(
      [...this.#running].filter((one) => !this.#inserted.has(one)),
      which,
    );
    if (xid === undefined) return;
    this.#inserted.add(xid);
    this.#wal.push({ xid, committed: true });
  }

  end(which: number): void {
    const xid = pick(
      [...this.#running].filter((one) => this.#inserted.has(one)),
      which,
    );
    if (xid !== undefined) this.#end(xid);
  }

  abort(which: number): void {
    const xid = pick(
      [...this.#running].filter((one) => !this.#inserted.has(one)),
      which,
    );
    if (xid === undefined) return;
    this.#wal.push({ xid, committed: false });
    this.#end(xid);
  }

  #end(xid: number): void {
    this.#running.delete(xid);
    this.#ended.add(xid);
  }

  replay(node: string, count: number): void {
    const follower = this.#of(node);
    for (const { xid, committed } of this.#wal.slice(follower.replayed, follower.replayed + count)) {
      follower.replayed += 1;
      if (committed) follower.shown.set(xid, this.nowMs);
    }
  }

  askLeader(): void {
    const xmax = Math.max(99, ...this.#ended) + 1;
    const xids = [...this.#running].filter((xid) => xid < xmax).map(BigInt);
    this.#marks.push({ sentAtMs: this.nowMs, at: this.#wal.length });
    this.settled = afterLeader(this.settled, { sentAtMs: this.nowMs, xmax: BigInt(xmax), xids });
  }

  ask(node: string): void {
    const follower = this.#of(node);
    const { running: of } = this.settled;
    if (of === null || follower.inFlight !== null) return;
    const ended = Math.max(99, ...this.#wal.slice(0, follower.replayed).map(({ xid }) => xid)) + 1;
    const asks = of.xids.map(Number);
    for (let xid = Number(of.xmax); xid < ended; xid++) asks.push(xid);
    const committed = asks.filter((xid) => follower.shown.has(xid)).map(BigInt);
    const fresh = this.#marks.findLast(({ at }) => at <= follower.replayed)?.sentAtMs ?? -Infinity;
    follower.inFlight = { asked: of, committed, freshAsOfMs: fresh };
  }

  answer(node: string): void {
    const follower = this.#of(node);
    const { inFlight } = follower;
    if (inFlight === null) return;
    follower.inFlight = null;
    this.settled = afterFollower(this.settled, node, inFlight, inFlight.freshAsOfMs);
  }

  check(): void {
    const { everywhereMs, nodes } = this.settled;
    for (const [node, { shown }] of this.#followers) {
      const untilMs = Math.max(everywhereMs, nodes.get(node)?.asOfMs ?? -Infinity);
      for (const [xid, atMs] of shown)
        if (atMs < untilMs)
          assert.ok(this.#ended.has(xid), `${node} showed ${xid} at ${atMs}, settled as of ${untilMs}`);
    }
  }

  /** The quorum confirms, and all is asked once more. */
  finish(): void {
    while (this.#inserted.size > this.#wal.filter(({ xid, committed }) => committed && this.#ended.has(xid)).length)
      this.end(0);
    this.nowMs += 1;
    for (const node of this.#followers.keys()) {
      this.replay(node, this.#wal.length);
      this.answer(node);
    }
    this.nowMs += 1;
    this.askLeader();
    for (const node of this.#followers.keys()) {
      this.ask(node);
      this.answer(node);
      assert.equal(asOf(this.settled, node), this.nowMs);
    }
    assert.equal(this.settled.everywhereMs, this.nowMs);
    this.check();
  }

  #of(node: string) {
    return this.#followers.get(node) ?? assert.fail(node);
  }
}

function pick(xids: readonly number[], which: number): number | undefined {
  return xids[which % xids.length];
}

interface Answer {
  readonly asked: Running;
  readonly committed: readonly bigint[];
  readonly freshAsOfMs: number;
}
