import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, test } from 'node:test';
import { pino } from 'pino';
import { monotonicClock } from '../common/clock.ts';
import { InvariantError, StoreError } from '../common/errors.ts';
import { Agent } from './agent.ts';
import { initialState } from './core/initial-state.ts';
import type { AgentState } from './core/state.ts';
import { type CoreConfig, type Effect, EMPTY_LOCAL_STATE, type Input } from './core/types.ts';
import type { PostgresServer } from './postgres/port.ts';
import { keysOf } from './store/keys.ts';
import type { FollowOptions, LeaseStore } from './store/port.ts';

const core: CoreConfig = {
  cluster: 'main',
  node: 'a',
  address: { host: '127.0.0.1', port: 1 },
  apiUrl: 'http://127.0.0.1:2',
  bootId: 'boot',
  agentPid: 1,
  ttlMs: 3000,
  marginMs: 700,
  syncAcks: 1,
  withoutFollower: 'go-on',
  priority: 50,
  noFailover: false,
};

let inputsSeen = 0;
const agents: Agent[] = [];
afterEach(() => {
  inputsSeen = 0;
  for (const agent of agents.splice(0)) agent.abandon();
});

/** A shell around a scripted core: `script` says which effects follow an input, every input is noted. */
function start(script: (input: Input) => readonly Effect[], parts: { store?: object; postgres?: object } = {}) {
  const inputs: Input[] = [];
  const fed: (number | null)[] = [];
  const logged: string[] = [];
  let follow: FollowOptions | undefined;
  let exited = () => {};
  let stepping = false;
  const step = (state: AgentState, input: Input) => {
    assert.equal(stepping, false, 'one input at a time');
    stepping = true;
    inputs.push(input);
    const effects = script(input);
    stepping = false;
    return { state: { ...state, nowMs: input.nowMs }, effects };
  };
  const store = { follow: (_prefix: string, options: FollowOptions) => (follow = options), ...parts.store };
  const postgres = {
    postmasterPid: null,
    onExit: (listener: () => void) => (exited = listener),
    killNow: async () => {},
    ...parts.postgres,
  };
  const logger = pino({ level: 'trace' }, { write: (line: string) => logged.push(line) });
  const agent = new Agent({
    step,
    initial: initialState(core, EMPTY_LOCAL_STATE),
    store: store as unknown as LeaseStore,
    endpoints: ['http://127.0.0.1:2379'],
    postgres: postgres as unknown as PostgresServer,
    watchdog: { feed: (deadline) => fed.push(deadline) },
    clock: monotonicClock,
    logger,
    saveLocal: async () => {},
  });
  agents.push(agent);
  agent.start();
  const answers = () => inputs.filter((input) => input.type === 'effect-done' || input.type === 'effect-failed');
  return { agent, inputs, answers, fed, logged, exit: () => exited(), follow: () => follow as FollowOptions };
}

/** Effects at the first input only. */
function once(...effects: Effect[]): (input: Input) => readonly Effect[] {
  let first = true;
  return () => {
    const now = first ? effects : [];
    first = false;
    return now;
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let round = 0; round < 2000 && !condition(); round++) await sleep(5);
  assert.ok(condition(), 'not within 10 s');
}

describe('the agent', () => {
  test('gives a tick first and then at least every 50 ms, with a clock that only goes forward', async () => {
    const { inputs } = start(() => []);
    assert.equal(inputs[0]?.type, 'tick');
    await until(() => inputs.length >= 8);
    inputs.slice(1).forEach((input, index) => {
      assert.ok(input.nowMs >= (inputs[index]?.nowMs ?? 0));
      assert.ok(input.random >= 0 && input.random < 1);
    });
  });

  test('hands on what the store and PostgreSQL report', () => {
    const { inputs, exit, follow, agent } = start(() => []);
    const keys = keysOf('main');
    const value = { key: keys.term, value: '7', createRevision: 1, modRevision: 3, lease: null };
    follow().onSnapshot({ revision: 3, keys: new Map([[keys.term, value]]) });
    follow().onUnreachable(new Error('gone'));
    exit();
    agent.command('failover');
    const [, cluster, unreachable, ended, command] = inputs;
    assert.ok(cluster?.type === 'cluster' && cluster.view.term.value === 7n);
    assert.equal(unreachable?.type, 'store-unreachable');
    assert.equal(ended?.type, 'postgres-exit');
    assert.ok(command?.type === 'command' && command.command === 'failover');
  });

  test('answers an effect once, with the moment at which a request was sent', async () => {
    const store = {
      keepAlive: async () => {
        await sleep(30);
        return { ttlMs: 3000 };
      },
    };
    const { answers, inputs } = start(once({ type: 'keep-alive', id: 1, timeoutMs: 350, lease: 'l' as never }), {
      store,
    });
    await until(() => answers().length > 0);
    const [answer] = answers();
    assert.ok(answer?.type === 'effect-done' && answer.outcome.type === 'kept');
    const sentAtMs = answer.outcome.sentAtMs;
    assert.ok(sentAtMs >= (inputs[0]?.nowMs ?? 0) && answer.nowMs - sentAtMs >= 29);
  });

  test('an error of the store says whether the request can have been carried out', async () => {
    const transact = async () => Promise.reject(new StoreError('not-applied', 'no connection'));
    const transaction = { compare: [], then: [] };
    const { answers } = start(once({ type: 'transact', id: 1, timeoutMs: 350, transaction }), { store: { transact } });
    await until(() => answers().length > 0);
    const [answer] = answers();
    assert.ok(answer?.type === 'effect-failed');
    assert.deepEqual(answer.failure, { code: 'STORE', message: 'no connection', applied: 'not-applied' });
  });

  test('an effect past its time is aborted and fails with TIMEOUT', async () => {
    let aborted = false;
    const checkpoint = (signal: AbortSignal) =>
      new Promise<void>(() => signal.addEventListener('abort', () => (aborted = true)));
    const { answers } = start(once({ type: 'pg-checkpoint', id: 1, timeoutMs: 40 }), { postgres: { checkpoint } });
    await until(() => answers().length > 0);
    const [answer] = answers();
    assert.ok(answer?.type === 'effect-failed' && answer.failure.code === 'TIMEOUT' && aborted);
  });

  test('a cancelled effect is aborted, and its answer is not given', async () => {
    let end = () => {};
    const checkpoint = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        end = resolve;
        signal.addEventListener('abort', () => resolve());
      });
    const script = once({ type: 'pg-checkpoint', id: 1, timeoutMs: 40 }, { type: 'cancel', id: 1 });
    const { answers } = start(script, { postgres: { checkpoint } });
    end();
    await sleep(100);
    assert.deepEqual(answers(), []);
  });

  test('a kill overtakes a start that was cancelled, and proves its work once that has ended', async () => {
    const events: string[] = [];
    const postgres = {
      start: async () => {
        await sleep(40);
        events.push('started late');
      },
      killNow: async () => void events.push('killed'),
    };
    const script = once(
      { type: 'pg-start', id: 1, timeoutMs: 1000, role: 'leader', peer: null },
      { type: 'cancel', id: 1 },
      { type: 'pg-kill', id: 2, timeoutMs: 1000 },
    );
    const { answers } = start(script, { postgres });
    await until(() => answers().length > 0);
    assert.deepEqual(events, ['killed', 'started late', 'killed']);
  });

  test('an operation on the server waits for one that was called off and has not ended', async () => {
    const events: string[] = [];
    const postgres = {
      promote: async () => {
        await sleep(40);
        events.push('promote ended');
      },
      stop: async () => void events.push('stop'),
    };
    const script = once(
      { type: 'pg-promote', id: 1, timeoutMs: 1000 },
      { type: 'cancel', id: 1 },
      { type: 'pg-stop', id: 2, timeoutMs: 1000, mode: 'fast' },
    );
    const { answers } = start(script, { postgres });
    await until(() => answers().length > 0);
    assert.deepEqual(events, ['promote ended', 'stop']);
  });

  test('what fails at once and is tried again at once does not stop time', async () => {
    let id = 1;
    const again = (): Effect => ({ type: 'keep-alive', id: id++, timeoutMs: 350, lease: 'l' as never });
    const keepAlive = async () => Promise.reject(new StoreError('not-applied', 'no connection'));
    const { inputs } = start((input) => (input.type === 'effect-failed' || inputsSeen++ === 0 ? [again()] : []), {
      store: { keepAlive },
    });
    await until(() => inputs.filter((input) => input.type === 'tick').length >= 5);
    assert.ok(id < 30, `${id} attempts in five ticks`);
  });

  test('what ends at once and is done again at once does not stop time', async () => {
    let id = 1;
    const again = (): Effect => ({ type: 'pg-sample', id: id++, timeoutMs: 350 });
    const { inputs } = start((input) => (input.type === 'effect-done' || inputsSeen++ === 0 ? [again()] : []), {
      postgres: { sample: async () => null },
    });
    await until(() => inputs.filter((input) => input.type === 'tick').length >= 3);
  });

  test('the watchdog and the log get what the core says', () => {
    const { fed, logged } = start(
      once(
        { type: 'feed-watchdog', deadlineMs: 5 },
        { type: 'log', level: 'info', event: 'lease.acquired', message: 'a leads', fields: { term: '3' } },
      ),
    );
    assert.deepEqual(fed, [5]);
    const record = JSON.parse(logged[0] ?? '{}') as Record<string, unknown>;
    assert.deepEqual([record['event'], record['term'], record['msg']], ['lease.acquired', '3', 'a leads']);
  });

  test('finished ends it: no further input, the store is followed no more', async () => {
    const { agent, inputs, follow } = start((input) =>
      input.type === 'command' ? [{ type: 'finished', error: 'wrong system' }] : [],
    );
    agent.command('stop');
    assert.equal(await agent.finished, 'wrong system');
    const count = inputs.length;
    await sleep(80);
    assert.equal(inputs.length, count);
    assert.ok(follow().signal.aborted);
  });

  test('a contradiction in the core kills PostgreSQL, and then ends the agent with it', async () => {
    let killed = false;
    const postgres = {
      killNow: async () => {
        await sleep(20);
        killed = true;
      },
    };
    const { agent, fed, logged } = start(
      (input) => {
        if (input.type === 'command') throw new InvariantError('two leases');
        return [];
      },
      { postgres },
    );
    agent.command('failover');
    await assert.rejects(agent.finished, InvariantError);
    assert.ok(killed);
    assert.ok((fed[0] ?? Number.POSITIVE_INFINITY) < performance.now());
    assert.match(logged.join(''), /agent\.invariant/);
  });

  test('an etcd that cannot be reached is told once, not for every attempt', () => {
    const { follow, logged } = start(() => []);
    for (let attempt = 0; attempt < 20; attempt++) follow().onUnreachable(new Error('ECONNREFUSED'));
    assert.equal(logged.length, 1);
    assert.match(logged[0] ?? '', /cannot be reached at http:\/\/127\.0\.0\.1:2379/);
    follow().onSnapshot({ revision: 1, keys: new Map() });
    assert.match(logged[1] ?? '', /answers again/);
  });
});
