import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Guard, type GuardedProcess } from './watchdog-guard.ts';

const POSTMASTER: GuardedProcess = { pid: 10, parent: 1, startTicks: 100 };
const BACKEND: GuardedProcess = { pid: 11, parent: 10, startTicks: 101 };

function makeGuard(dieWithAgent = false) {
  const world = { processes: [POSTMASTER, BACKEND] as GuardedProcess[], sent: [] as string[] };
  const guard = new Guard(
    {
      processes: () => world.processes,
      postmaster: () => 10,
      send: (pid, signal) => world.sent.push(`${signal} ${pid}`),
      report: () => undefined,
    },
    dieWithAgent,
  );
  return { guard, world };
}

describe('the guard', () => {
  test('without a deadline it waits for a feed', () => {
    const { guard } = makeGuard();
    assert.equal(guard.tick(0), null);
  });

  test('quits at -500 ms, kills at -200 ms, and goes on killing what appears', () => {
    const { guard, world } = makeGuard();
    guard.feed(1000);
    guard.tick(499);
    assert.deepEqual(world.sent, []);
    guard.tick(500);
    guard.tick(600);
    assert.deepEqual(world.sent, ['SIGQUIT 10']);
    guard.tick(800);
    assert.deepEqual(world.sent.slice(1), ['SIGKILL 10', 'SIGKILL 11']);
    world.processes = [{ pid: 12, parent: 1, startTicks: 900 }];
    guard.tick(2000);
    assert.equal(world.sent.at(-1), 'SIGKILL 12');
  });

  test('a later deadline or none in time prevents both', () => {
    const { guard, world } = makeGuard();
    guard.feed(1000);
    guard.feed(3000);
    guard.tick(900);
    guard.feed(null);
    guard.tick(5000);
    assert.deepEqual(world.sent, []);
  });

  test('a lock file that names a stranger gets no signal sent', () => {
    const { guard, world } = makeGuard();
    world.processes = [];
    guard.feed(1000);
    guard.tick(600);
    guard.tick(900);
    assert.deepEqual(world.sent, []);
  });

  test('when the agent dies the deadline stands, and only what ran then is killed', () => {
    const { guard, world } = makeGuard();
    guard.feed(1000);
    guard.agentGone(100);
    guard.feed(9000);
    assert.equal(guard.tick(100), 20);
    world.processes = [BACKEND, { pid: 13, parent: 10, startTicks: 200 }, { pid: 50, parent: 1, startTicks: 300 }];
    guard.tick(900);
    assert.deepEqual(world.sent, ['SIGKILL 11', 'SIGKILL 13']);
    world.processes = [{ pid: 50, parent: 1, startTicks: 300 }];
    assert.equal(guard.tick(920), 'done');
  });

  test('a pid that was given out again is not the process that was guarded', () => {
    const { guard, world } = makeGuard();
    guard.feed(1000);
    guard.agentGone(0);
    world.processes = [{ pid: 10, parent: 1, startTicks: 777 }];
    assert.equal(guard.tick(900), 'done');
    assert.deepEqual(world.sent, []);
  });

  test('a follower outlives its agent', () => {
    const { guard, world } = makeGuard();
    guard.feed(null);
    guard.agentGone(0);
    assert.equal(guard.tick(0), 'done');
    assert.deepEqual(world.sent, []);
  });

  test('in the local cluster the server stops at once, and is killed if that takes too long', () => {
    const { guard, world } = makeGuard(true);
    guard.agentGone(0);
    assert.deepEqual(world.sent, ['SIGINT 10']);
    guard.tick(3100);
    guard.tick(3400);
    assert.deepEqual(world.sent.slice(1), ['SIGQUIT 10', 'SIGKILL 10', 'SIGKILL 11']);
  });
});
