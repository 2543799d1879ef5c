import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientError } from '../../common/errors.ts';
import type { Backend, BackendUser } from '../pool/backend.ts';
import type { PinReason } from '../sql/types.ts';
import { errorResponse, READY_IDLE } from '../wire/encode.ts';
import { recheckPins } from './pins.ts';
import type { Session } from './session.ts';

/** A session with a lock whose server answers the question for it as `onQuestion` says. */
function pinned(onQuestion: (backend: Backend & { closed: boolean }, user: BackendUser) => void) {
  const ended: ClientError[] = [];
  let user: BackendUser | null = null;
  const backend = {
    closed: false,
    place: { node: 'node1' },
    user: {},
    attach: (next: BackendUser) => {
      user = next;
    },
    resume: () => undefined,
    destroy: () => undefined,
    write: () => setImmediate(() => onQuestion(backend as unknown as Backend, user as unknown as BackendUser)),
  };
  const session = {
    phase: 'idle',
    backend,
    pins: new Set<PinReason>(['advisory-lock']),
    settings: { valueOf: () => undefined },
    statements: { unnamed: null },
    terminate: (error: ClientError) => ended.push(error),
    readOn: () => undefined,
  };
  recheckPins(session as unknown as Session, backend as unknown as Backend);
  return { session, ended };
}

/** For the condition, not for a time: on a busy machine a timer may come before what was to happen first. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('a session whose server goes while it is asked what is kept there is ended, not left without its lock', async () => {
  const { session, ended } = pinned((backend, user) => {
    backend.closed = true;
    user.onBackendLost({ reason: 'node1 closed the connection', fatal: null });
  });
  await until(() => ended.length > 0);
  assert.equal(ended[0]?.sqlState, '57P01');
  assert.match(ended[0]?.message ?? '', /advisory-lock/);
  assert.equal(session.phase, 'placing');
});

test('a notification that comes while the server is asked reaches the client', async () => {
  const message = Buffer.from('A\0\0\0\x0f\0\0\0\x01news\0\0', 'latin1');
  const heard: string[] = [];
  let flushes = 0;
  const { session } = pinned((backend, user) => {
    Object.assign(backend.user as object, {
      onBackendMessage: (type: number) => heard.push(String.fromCharCode(type)),
      onBackendChunkEnd: () => flushes++,
    });
    user.onBackendMessage(0x41, message, 0, message.length);
    user.onBackendChunkEnd();
    user.onBackendMessage(0x5a, READY_IDLE, 0, READY_IDLE.length);
    user.onBackendChunkEnd();
  });
  await until(() => session.phase !== 'placing');
  assert.deepEqual(heard, ['A']);
  assert.equal(flushes, 1);
});

test('a server that refuses the question keeps what is pinned, and the session goes on', async () => {
  const refusal = errorResponse(new ClientError({ sqlState: '57014', message: 'statement timeout' }));
  const { session, ended } = pinned((_, user) => {
    user.onBackendMessage(0x45, refusal, 0, refusal.length);
    user.onBackendMessage(0x5a, READY_IDLE, 0, READY_IDLE.length);
  });
  await until(() => session.phase !== 'placing');
  assert.deepEqual(ended, []);
  assert.equal(session.phase, 'idle');
  assert.deepEqual([...session.pins], ['advisory-lock']);
});
