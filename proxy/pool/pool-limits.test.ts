import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientError } from '../../common/errors.ts';
import { FakePools, follower, settingsOf } from '../../test/support/fake-pools.ts';
import { settle } from '../../test/support/fake-servers.ts';
import type { Backend, BackendUser } from './backend.ts';
import type { Seat } from './capacity.ts';
import type { Pool } from './pool.ts';
import { FAIR_AFTER_MS } from './room.ts';

/** Two users, two databases, two nodes: eight pools against limits of every kind that are all tight. */
const SEATS: readonly Seat[] = ['node1', 'node2'].flatMap((node) =>
  ['app', 'other'].flatMap((database) => ['ann', 'bob'].map((user) => ({ node, database, user }))),
);
const WAIT_MS = 3_000;
const TIGHT = {
  pool: {
    size: 2,
    reserveSize: 1,
    reserveAfterMs: 500,
    maxConnections: 5,
    maxConnectionsPerNode: 4,
    waitTimeoutMs: WAIT_MS,
  },
  databases: { app: { maxConnections: 4 } },
  users: { ann: { maxConnections: 3 }, bob: { minSize: 1 } },
};
const LOOSE = { ...TIGHT, pool: { ...TIGHT.pool, maxConnections: 9, maxConnectionsPerNode: 7 } };

type Op =
  | { readonly type: 'take' | 'give-up' | 'give' | 'give-unclean' | 'lose'; readonly at: number }
  | { readonly type: 'accept' | 'refuse' | 'close'; readonly at: number }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'sweep' | 'reconnect' | 'tighten' | 'loosen' }
  | { readonly type: 'pause' | 'resume'; readonly at: number };

/** Most often the first pools, so that some are at their own bounds too. */
const at = fc.oneof(fc.nat(1), fc.nat(1_000));
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ type: fc.constant('take' as const), at }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('give' as const), at }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constantFrom('accept' as const, 'close' as const), at }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constantFrom('give-up' as const, 'give-unclean' as const, 'lose' as const, 'refuse' as const),
      at,
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.nat(900) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constantFrom('sweep' as const, 'reconnect' as const, 'tighten' as const, 'loosen' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('pause' as const, 'resume' as const), at }) },
);

interface Wait {
  readonly pool: Pool;
  readonly number: number;
  readonly abort: AbortController;
  state: 'waiting' | 'ended';
}

/** Clients, pools and servers, with what must hold after every step. */
class Model {
  readonly fake = new FakePools(TIGHT, false);
  readonly waits: Wait[] = [];
  readonly held: { readonly pool: Pool; readonly backend: Backend }[] = [];
  readonly soiled = new Set<Backend>();
  readonly lastServed = new Map<Pool, number>();
  readonly user: BackendUser = {
    onBackendMessage: () => undefined,
    onBackendPart: () => undefined,
    onBackendChunkEnd: () => undefined,
    onBackendDrain: () => undefined,
    onBackendLost: () => undefined,
  };
  config: typeof TIGHT = TIGHT;
  #before = new Map<string, number>();
  #number = 0;

  constructor() {
    for (const { user, database } of SEATS)
      this.fake.pools.noteLogin(user, database, { kind: 'password', password: 'x' });
  }

  pool(index: number): Pool {
    const { node, database, user } = SEATS[index % SEATS.length] as Seat;
    return this.fake.of(user, database, follower(node));
  }

  take(index: number): void {
    const pool = this.pool(index);
    const wait: Wait = { pool, number: (this.#number += 1), abort: new AbortController(), state: 'waiting' };
    this.waits.push(wait);
    pool.take(wait.abort.signal).then(
      (backend) => {
        wait.state = 'ended';
        if (backend.closed) return;
        assert.ok(!this.held.some((one) => one.backend === backend), 'one connection was given to two');
        assert.ok(!this.soiled.has(backend), 'a connection in an unknown state was given to somebody');
        assert.ok((this.lastServed.get(pool) ?? 0) < wait.number, 'a client was overtaken');
        this.lastServed.set(pool, wait.number);
        backend.attach(this.user);
        this.held.push({ pool, backend });
      },
      () => {
        wait.state = 'ended';
      },
    );
  }

  async run(step: Op): Promise<void> {
    const { pools, servers } = this.fake;
    switch (step.type) {
      case 'take':
        this.take(step.at);
        break;
      case 'give-up':
        pick(
          this.waits.filter(({ state }) => state === 'waiting'),
          step.at,
        )?.abort.abort(new Error('gone'));
        break;
      case 'give':
      case 'give-unclean': {
        const one = pick(this.held, step.at);
        if (one === undefined) break;
        this.held.splice(this.held.indexOf(one), 1);
        if (step.type === 'give-unclean') {
          this.soiled.add(one.backend);
          one.backend.write(Buffer.from('Q\0\0\0\x05\0', 'latin1'));
        }
        one.pool.give(one.backend);
        break;
      }
      case 'lose':
        pick(servers.in('open'), step.at)?.close();
        break;
      case 'accept':
        pick(servers.in('opening'), step.at)?.accept();
        break;
      case 'refuse':
        pick(servers.in('opening'), step.at)?.refuse(new ClientError({ sqlState: '57P03', message: 'no' }));
        break;
      case 'close':
        pick(servers.in('ending'), step.at)?.close();
        break;
      case 'pass':
        this.fake.pass(step.ms);
        break;
      case 'sweep':
        pools.sweep();
        break;
      case 'reconnect':
        pools.reconnect(null);
        break;
      case 'pause':
        void pools
          .pause(step.at % 2 === 0 ? 'app' : 'other', AbortSignal.abort(new Error('not waited for')))
          .catch(() => undefined);
        break;
      case 'resume':
        pools.resume(step.at % 2 === 0 ? 'app' : 'other');
        break;
      case 'tighten':
      case 'loosen':
        this.config = step.type === 'tighten' ? TIGHT : LOOSE;
        pools.reconfigure(settingsOf(this.config));
    }
    await settle();
    for (const one of this.held.slice()) if (one.backend.closed) this.held.splice(this.held.indexOf(one), 1);
    this.check();
  }

  check(): void {
    this.#checkLimits();
    this.#checkUses();
    for (const pool of this.fake.pools.all()) this.#checkWaiters(pool);
    assert.equal(
      this.waits.filter(({ state }) => state === 'waiting').length,
      [...this.fake.pools.all()].reduce((sum, pool) => sum + pool.queue.size, 0),
      'a client waits in no queue',
    );
  }

  /** What the servers count, each connection from its attempt to its end, is within each limit, or was above it before a reload and did not grow. */
  #checkLimits(): void {
    const { pool, databases, users } = this.config;
    const limits = new Map([
      ['all', pool.maxConnections],
      ['node1', pool.maxConnectionsPerNode],
      ['node2', pool.maxConnectionsPerNode],
      ['app', databases.app.maxConnections],
      ['ann', users.ann.maxConnections],
    ]);
    const counts = new Map<string, number>();
    for (const one of this.fake.pools.all()) {
      const { node, database, user } = one.seat;
      for (const name of ['all', node, database, user]) counts.set(name, (counts.get(name) ?? 0) + one.size);
      assert.ok(one.size <= pool.size + pool.reserveSize, `pool of ${user} has ${one.size}`);
    }
    assert.equal(counts.get('all') ?? 0, this.fake.servers.present.length, 'what is counted is what the servers have');
    for (const [name, limit] of limits) {
      const count = counts.get(name) ?? 0;
      assert.ok(count <= Math.max(limit, this.#before.get(name) ?? 0), `${name}: ${count} connections, limit ${limit}`);
    }
    this.#before = counts;
  }

  #checkUses(): void {
    for (const node of ['node1', 'node2']) {
      const pools = [...this.fake.pools.all()].filter(({ seat }) => seat.node === node);
      const busy = pools.reduce((sum, { stock }) => sum + stock.busy, 0);
      const waiting = pools.reduce((sum, { queue }) => sum + queue.size, 0);
      const load = this.fake.pools.loadOf(node);
      assert.deepEqual([load.busy, load.waiting], [busy, waiting]);
    }
  }

  /** No client waits while there is room for it, or while an idle connection could make room and none is on its way out. */
  #checkWaiters(pool: Pool): void {
    if (pool.queue.size === 0) return;
    assert.equal(pool.stock.idle, 0, 'a client waits beside an idle connection');
    if (pool.wants === 0) return;
    const { room } = this.fake.pools;
    const full = room.capacity.full(pool.seat);
    assert.ok(full.length > 0, 'a client waits though there is room');
    const leaving = [...this.fake.pools.all()].some(({ stock }) => stock.leaving > 0);
    const idle = [...this.fake.pools.all()].some(({ stock }) => stock.idle > 0);
    if (!leaving && idle && full.length === 1 && full[0] === 'total') assert.fail('an idle connection could make room');
  }

  /** Everybody ends: transactions are given back, servers answer, and time passes. */
  async end(): Promise<void> {
    for (const database of ['app', 'other']) this.fake.pools.resume(database);
    for (let turn = 0; turn < 60 && this.waits.some(({ state }) => state === 'waiting'); turn += 1) {
      for (const connection of this.fake.servers.in('opening')) connection.accept();
      for (const connection of this.fake.servers.in('ending')) connection.close();
      await settle();
      for (const { pool, backend } of this.held.splice(0)) pool.give(backend);
      this.fake.pass(FAIR_AFTER_MS);
      await settle();
      this.check();
    }
    const left = this.waits.filter(({ state }) => state === 'waiting');
    assert.equal(left.length, 0, `${left.length} clients wait for ever`);
  }
}

function pick<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}

test('no limit is exceeded at any moment, nobody waits while there is room or is overtaken, and every wait ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(op, { minLength: 20, maxLength: 120 }), async (steps) => {
      const model = new Model();
      for (const step of steps) await model.run(step);
      await model.end();
      model.fake.pools.close();
    }),
    { numRuns: 150 },
  );
});
