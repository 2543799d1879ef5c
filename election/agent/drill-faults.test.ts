import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { createMemoryStore } from '../store/memory.ts';
import { cuttable } from '../store/cuttable.ts';
import { NodeFaults } from './drill-faults.ts';
import { createNodeControl } from './node-control.ts';

function make(enabled: boolean) {
  const store = cuttable(createMemoryStore(() => performance.now()));
  const faults = new NodeFaults({
    drills: { enabled, maxSeconds: 10 },
    store,
    dataDir: '/nonexistent/data',
    socketDir: '/nonexistent',
    port: 1,
    logger: pino({ level: 'silent' }),
  });
  return {
    store,
    faults,
    control: createNodeControl(
      () => null,
      { postmasterPid: null },
      () => faults,
    ),
  };
}

test('a node on which drills are turned off breaks nothing, a crash included', async () => {
  const { store, control } = make(false);
  for (const fault of ['partition', 'freeze', 'lag'] as const) {
    await assert.rejects(control.drill(fault, { seconds: 1, what: 'postgres' }), { status: 403 });
  }
  await assert.rejects(control.crash(), { status: 403, message: /drills.enabled/ });
  assert.equal(store.cutForMs, 0);
});

test('a fault is bounded by the node’s own setting', async () => {
  const { store, control } = make(true);
  for (const seconds of [0, -1, 11, '5', undefined, Number.NaN]) {
    await assert.rejects(control.drill('partition', { seconds }), { status: 400, message: /at most 10/ });
  }
  assert.equal(store.cutForMs, 0);
  await control.drill('partition', { seconds: 5 });
  assert.ok(store.cutForMs > 4000 && store.cutForMs <= 5000);
  await control.drill('lift', {});
  assert.equal(store.cutForMs, 0);
});

test('what is not there is not stopped', async () => {
  const { control } = make(true);
  await assert.rejects(control.drill('freeze', { seconds: 1, what: 'postgres' }), { status: 409 });
  await assert.rejects(control.drill('freeze', { seconds: 1, what: 'all' }), { status: 400 });
  await assert.rejects(control.crash(), { code: 'REQUEST_REFUSED' });
});

test('replay is paused by one drill at a time, from the first moment', async () => {
  const { control } = make(true);
  const first = control.drill('lag', { seconds: 1 });
  await assert.rejects(control.drill('lag', { seconds: 1 }), { status: 409, message: /paused by a drill already/ });
  await assert.rejects(first, (error: { status?: number }) => error.status !== 409); // there is no server
  await assert.rejects(control.drill('lag', { seconds: 1 }), (error: { status?: number }) => error.status !== 409);
});
