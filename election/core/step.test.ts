import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CoreDriver, isStoreEffect } from '../../test/support/core-driver.ts';
import { encodeRecord, leaderRecord } from '../store/records.ts';
import { leaseDeadline } from './lease-deadline.ts';
import { initialState, step } from './step.ts';
import { type Effect, EMPTY_LOCAL_STATE } from './types.ts';

/** A node that has made its cluster and leads it. */
function leader(): CoreDriver {
  const driver = new CoreDriver();
  const opened = driver.run(5000, () => driver.state.mode.kind === 'LEADER_OPEN');
  assert.ok(opened, `stands in ${driver.state.mode.kind}: ${driver.state.note}`);
  driver.run(1000);
  return driver;
}

function deadlineOf(driver: CoreDriver): number {
  const { mode } = driver.state;
  assert.ok('lead' in mode);
  return leaseDeadline(driver.config, mode.lead);
}

function order(driver: CoreDriver, type: Effect['type'], from = 0): number {
  return driver.log.findIndex((entry, i) => i >= from && entry.effect.type === type);
}

const deletes =
  (key: string) =>
  ({ effect }: CoreDriver['log'][number]): boolean =>
    effect.type === 'transact' && effect.transaction.then.some((o) => o.type === 'delete' && o.key === key);

const puts =
  (key: string, text: string) =>
  ({ effect }: CoreDriver['log'][number]): boolean =>
    effect.type === 'transact' &&
    effect.transaction.then.some((o) => o.type === 'put' && o.key === key && o.value.includes(text));

test('E6: a term opens to clients after its row is confirmed, and the route opens last', () => {
  const driver = leader();
  const row = order(driver, 'pg-write-term-row');
  const open = driver.log.findIndex(({ effect }) => effect.type === 'pg-open' && effect.open);
  const route = driver.log.findIndex(puts(driver.keys.route, '"hold":false'));
  const synchronous = order(driver, 'pg-set-synchronous');
  assert.ok(synchronous >= 0 && synchronous < row, 'PostgreSQL is told whose word counts before the row');
  assert.ok(row < open, 'the row before the clients');
  assert.ok(open < route, 'PostgreSQL before the route');
});

test('E1: every write of a leader to what it leads compares the create revision of its key', () => {
  const driver = leader();
  const { leader: key, sync, route, term, prefix } = driver.keys;
  const acquired = driver.log.findIndex(puts(term, '1'));
  for (const { effect } of driver.log.slice(acquired + 1)) {
    if (effect.type !== 'transact') continue;
    const { then, compare } = effect.transaction;
    const led = then.some((o) => o.key === sync || o.key === route || o.key === key || o.key.includes('history/'));
    if (!led) continue;
    const guard = compare.find((c) => c.key === key);
    assert.ok(
      guard?.type === 'create-revision' && guard.equals > 0,
      then.map((o) => o.key.slice(prefix.length)).join(', '),
    );
  }
});

test('E2: when the store falls silent, PostgreSQL is told to stop 500 ms before the deadline at the latest', () => {
  const driver = leader();
  const deadlineMs = deadlineOf(driver);
  driver.hangs = isStoreEffect;
  const from = driver.log.length;
  driver.run(6000);
  const stop = driver.log[order(driver, 'pg-stop', from)];
  assert.ok(stop?.effect.type === 'pg-stop' && stop.effect.mode === 'immediate');
  assert.ok(stop.atMs <= deadlineMs - 500, `stops ${deadlineMs - stop.atMs} ms before the deadline`);
  assert.equal(driver.running, true, 'it runs again, as a follower');
  assert.equal(driver.state.mode.kind === 'FOLLOWER' || driver.state.mode.kind === 'PLEDGED', true);
});

test('E2: a PostgreSQL that does not stop is killed 200 ms before the deadline at the latest', () => {
  const driver = leader();
  const deadlineMs = deadlineOf(driver);
  driver.hangs = (effect) => isStoreEffect(effect) || effect.type === 'pg-stop';
  const from = driver.log.length;
  driver.run(6000);
  const kill = driver.log[order(driver, 'pg-kill', from)];
  assert.ok(kill !== undefined && kill.atMs <= deadlineMs - 200);
});

test('E2: the watchdog is never fed a deadline that the leader itself does not have', () => {
  const driver = leader();
  let held = 0;
  for (const { effect } of driver.log) {
    if (effect.type !== 'feed-watchdog' || effect.deadlineMs === null) continue;
    assert.ok(effect.deadlineMs >= held);
    held = effect.deadlineMs;
  }
  assert.equal(held, deadlineOf(driver));
});

test('E8: after a crash the leader key is given back at once, but not before PostgreSQL is proven gone', () => {
  const driver = leader();
  const from = driver.log.length;
  const crashedMs = driver.nowMs;
  driver.hangs = (effect) => effect.type === 'pg-kill';
  driver.crash();
  driver.run(200);
  assert.equal(driver.log.slice(from).some(deletes(driver.keys.leader)), false, 'not while the kill is under way');
  const again = leader();
  const begun = again.log.length;
  again.crash();
  again.run(200);
  const released = again.log.slice(begun).find(deletes(again.keys.leader));
  assert.ok(released !== undefined && released.atMs - crashedMs <= 100);
  assert.ok(order(again, 'pg-kill', begun) < again.log.indexOf(released));
});

test('E8: a leader whose key is another’s stops at once', () => {
  const driver = leader();
  const from = driver.log.length;
  const { keys } = driver;
  const { term, address } = { term: 2n as never, address: { host: 'b', port: 5432 } };
  driver.etcd.transact(driver.nowMs, { compare: [], then: [{ type: 'delete', key: keys.leader }] });
  const value = encodeRecord(leaderRecord, { node: 'b', term, bootId: 'b-1', address });
  driver.etcd.transact(driver.nowMs, {
    compare: [],
    then: [
      { type: 'put', key: keys.leader, value },
      { type: 'put', key: keys.term, value: '2' },
    ],
  });
  driver.run(100);
  const stop = driver.log.slice(from).find(({ effect }) => effect.type === 'pg-stop');
  assert.ok(stop !== undefined);
  driver.run(1000);
  assert.equal(driver.etcd.get(keys.leader)?.value, value, 'and it leaves that key alone');
});

test('E9: operations that exclude each other on PostgreSQL never run at once', () => {
  const exclusive = new Set([
    'pg-inspect',
    'pg-initialise',
    'pg-clone',
    'pg-rewind',
    'pg-start',
    'pg-stop',
    'pg-follow',
    'pg-promote',
  ]);
  const driver = new CoreDriver();
  const running = new Map<number, string>();
  let seen = 0;
  driver.run(8000, () => {
    for (const { effect } of driver.log.slice(seen)) {
      if (effect.type === 'cancel') running.delete(effect.id);
      if ('timeoutMs' in effect && exclusive.has(effect.type)) {
        const pending = new Set(Object.values(driver.state.pending).map((p) => p.id));
        for (const [id, type] of running) {
          if (pending.has(id)) assert.fail(`${effect.type} while ${type} runs`);
          running.delete(id);
        }
        running.set(effect.id, effect.type);
      }
    }
    seen = driver.log.length;
    if (driver.nowMs === 4000) driver.crash();
    return false;
  });
});

test('a leader that is asked for a failover gives up its lease, a follower is not moved', () => {
  const driver = leader();
  driver.give({ type: 'command', command: 'failover' });
  driver.run(300);
  assert.equal(driver.log.some(deletes(driver.keys.leader)), true);
  const before = driver.state.mode.kind;
  driver.give({ type: 'command', command: 'failover' });
  assert.equal(driver.state.mode.kind, before);
});

test('an agent that is asked to stop stops PostgreSQL, gives its keys back, and ends', () => {
  const driver = leader();
  driver.give({ type: 'command', command: 'stop' });
  const ended = driver.run(5000, () => driver.log.some(({ effect }) => effect.type === 'finished'));
  assert.ok(ended);
  assert.equal(driver.running, false);
  assert.equal(driver.etcd.get(driver.keys.leader), null);
  assert.equal(driver.etcd.get(driver.keys.member('a')), null);
});

test('the same state and input give the same step, and the state is left as it was', () => {
  const state = initialState(new CoreDriver().config, EMPTY_LOCAL_STATE);
  const copy = structuredClone(state);
  const input = { type: 'tick', nowMs: 5, random: 0.1, wallTime: 'now' } as const;
  assert.deepEqual(step(state, input), step(state, input));
  assert.deepEqual(state, copy);
});
