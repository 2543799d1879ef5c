import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientError } from '../../common/errors.ts';
import type { Phase } from '../session/session-state.ts';
import { drainSessions, Stopping } from './drain.ts';

class FakeSession {
  phase: Phase = 'idle';
  readonly startedAt = new Date(0);
  requestAt: Date | null = null;
  draining: ClientError | null = null;
  ended: 'between' | 'cut' | null = null;
  readonly #all: Set<FakeSession>;

  constructor(all: Set<FakeSession>) {
    this.#all = all;
    all.add(this);
  }

  drain(error: ClientError): void {
    this.draining = error;
    if (this.phase === 'idle') this.leave('between');
  }

  terminate(): void {
    this.leave('cut');
  }

  leave(how: 'between' | 'cut' | null): void {
    this.ended = how;
    this.#all.delete(this);
  }
}

function setUp(changes: { mode?: 'now' | 'transactions' | 'clients'; leaveMs?: number } = {}) {
  const sessions = new Set<FakeSession>();
  const state = { mode: changes.mode ?? 'transactions', nowMs: 0, arriving: 0 };
  const run = () =>
    drainSessions({
      sessions,
      arriving: () => state.arriving,
      mode: () => state.mode,
      leaveMs: changes.leaveMs ?? 0,
      drainMs: () => 1000,
      nowMs: () => state.nowMs,
    });
  return { sessions, state, run };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 25));

test('idle sessions end at once, one in a transaction when that is over, and at the end of the time it is cut', async () => {
  const { sessions, state, run } = setUp();
  const [idle, busy, stuck] = [new FakeSession(sessions), new FakeSession(sessions), new FakeSession(sessions)];
  busy.phase = 'busy';
  stuck.phase = 'busy';
  const done = run();
  await turn();
  assert.deepEqual([idle.ended, busy.ended, stuck.ended], ['between', null, null]);
  assert.ok(busy.draining !== null);
  busy.leave('between');
  state.nowMs = 1000;
  await done;
  assert.equal(stuck.ended, 'cut');
});

test('where a successor has the port, a session that is at work may leave by itself in the first half of the time', async () => {
  const { sessions, state, run } = setUp({ leaveMs: 500 });
  const [silent, fresh] = [new FakeSession(sessions), new FakeSession(sessions)];
  fresh.requestAt = new Date();
  const done = run();
  await turn();
  assert.deepEqual([silent.ended, fresh.ended], ['between', null]);
  state.nowMs = 500;
  await done;
  assert.equal(fresh.ended, 'between');
});

test('waiting for clients ends nobody until somebody is in more of a hurry', async () => {
  const { sessions, state, run } = setUp({ mode: 'clients' });
  const one = new FakeSession(sessions);
  state.nowMs = 1_000_000;
  const done = run();
  await turn();
  assert.equal(one.ended, null);
  state.mode = 'now';
  await done;
  assert.equal(one.ended, 'cut');
});

test('who was accepted and is still logging in is waited for', async () => {
  const { state, run } = setUp();
  state.arriving = 1;
  let over = false;
  const done = run().then(() => (over = true));
  await turn();
  assert.equal(over, false);
  state.arriving = 0;
  await done;
});

test('a later request to stop only makes it quicker', async () => {
  const signal = new AbortController();
  const stopping = new Stopping(signal.signal);
  stopping.begin('clients');
  await stopping.begun;
  assert.equal(stopping.mode, 'clients');
  signal.abort();
  assert.equal(stopping.mode, 'transactions');
  stopping.begin('now');
  stopping.begin('clients');
  assert.equal(stopping.mode, 'now');
});
