import type { Lsn } from '../../common/lsn.ts';
import { readClusterView } from '../../election/core/cluster-view.ts';
import type { AgentState } from '../../election/core/state.ts';
import { initialState, step } from '../../election/core/step.ts';
import {
  type CoreConfig,
  type Effect,
  EMPTY_LOCAL_STATE,
  type Input,
  type Outcome,
} from '../../election/core/types.ts';
import type { PostgresSample } from '../../election/postgres/port.ts';
import { keysOf } from '../../election/store/keys.ts';
import { MemoryEtcd } from '../../election/store/memory.ts';

type Answerable = Extract<Effect, { readonly timeoutMs: number }>;
type Omitted<T> = T extends unknown ? Omit<T, 'nowMs' | 'random' | 'wallTime'> : never;

const CONFIG: CoreConfig = {
  cluster: 'main',
  node: 'a',
  address: { host: 'a', port: 5432 },
  apiUrl: 'http://a:8008',
  bootId: 'a-1',
  agentPid: 1,
  ttlMs: 3000,
  marginMs: 400,
  syncAcks: 1,
  withoutFollower: 'go-on',
  priority: 50,
  noFailover: false,
};

/**
 * One node's core alone with a store in memory and a PostgreSQL that does at once whatever it is asked, for unit
 * tests of `step`. The simulation is where nodes meet and things go wrong.
 */
export class CoreDriver {
  readonly etcd = new MemoryEtcd();
  readonly keys = keysOf(CONFIG.cluster);
  readonly config: CoreConfig;
  /** Every effect, with the moment of its start. */
  readonly log: { readonly atMs: number; readonly effect: Effect }[] = [];
  /** Effects that have no answer but their time-out. */
  hangs: (effect: Answerable) => boolean = () => false;
  state: AgentState;
  nowMs = 0;
  running = false;
  #data = false;
  #recovery = false;
  #timeline = 1;
  #answers: { readonly atMs: number; readonly input: Omitted<Input> }[] = [];
  #revision = -1;

  constructor(config: Partial<CoreConfig> = {}) {
    this.config = { ...CONFIG, ...config };
    this.state = initialState(this.config, EMPTY_LOCAL_STATE);
  }

  /** Runs for a while, or until `stop` holds; tells whether it did. */
  run(forMs: number, stop: () => boolean = () => false): boolean {
    for (const untilMs = this.nowMs + forMs; this.nowMs < untilMs; this.nowMs += 10) {
      if (stop()) return true;
      this.etcd.expire(this.nowMs);
      const snapshot = this.etcd.readAll(this.nowMs, this.keys.prefix);
      if (snapshot.revision !== this.#revision && !this.hangs(PROBE)) {
        this.#revision = snapshot.revision;
        this.give({ type: 'cluster', view: readClusterView(this.config.cluster, snapshot) });
      }
      const due = this.#answers.filter((a) => a.atMs <= this.nowMs);
      this.#answers = this.#answers.filter((a) => a.atMs > this.nowMs);
      for (const { input } of due) this.give(input);
      this.give({ type: 'tick' });
    }
    return stop();
  }

  give(bare: Omitted<Input>): void {
    const input = { ...bare, nowMs: this.nowMs, random: 0.5, wallTime: 'now' } as Input;
    const { state, effects } = step(this.state, input);
    this.state = state;
    for (const effect of effects) {
      this.log.push({ atMs: this.nowMs, effect });
      if ('timeoutMs' in effect) this.#answers.push(this.#answerTo(effect));
    }
  }

  #answerTo(effect: Answerable): { readonly atMs: number; readonly input: Omitted<Input> } {
    const { id } = effect;
    if (this.hangs(effect)) {
      const failure = { code: 'TIMEOUT', message: 'took too long', applied: 'unknown' } as const;
      return { atMs: this.nowMs + effect.timeoutMs, input: { type: 'effect-failed', id, failure } };
    }
    return { atMs: this.nowMs, input: { type: 'effect-done', id, outcome: this.#carryOut(effect) } };
  }

  /** PostgreSQL ends by itself. */
  crash(): void {
    this.running = false;
    this.give({ type: 'postgres-exit' });
  }

  #carryOut(effect: Answerable): Outcome {
    const sentAtMs = this.nowMs;
    switch (effect.type) {
      case 'grant-lease':
        return { type: 'lease', ...this.etcd.grantLease(this.nowMs, effect.ttlMs), sentAtMs };
      case 'keep-alive':
        return { type: 'kept', ...this.etcd.keepAlive(this.nowMs, effect.lease), sentAtMs };
      case 'transact':
        return { type: 'transaction', ...this.etcd.transact(this.nowMs, effect.transaction), sentAtMs };
      case 'revoke-lease':
        this.etcd.revokeLease(this.nowMs, effect.lease);
        return { type: 'none' };
      case 'pg-inspect':
        return { type: 'data', data: this.#inspect() };
      case 'pg-sample':
        return { type: 'sample', sample: this.running ? this.#sample() : null };
      case 'pg-promote':
        this.#recovery = false;
        this.#timeline++;
        return { type: 'promoted', result: { timeline: this.#timeline, nextXid: '740' } };
      case 'pg-start':
        this.running = true;
        this.#recovery = effect.role === 'follower';
        return { type: 'none' };
      case 'pg-stop':
      case 'pg-kill':
        this.running = false;
        return { type: 'none' };
      case 'pg-initialise':
        this.#data = true;
        return { type: 'none' };
      case 'pg-checkpoint':
      case 'pg-clone':
      case 'pg-ensure-slots':
      case 'pg-follow':
      case 'pg-open':
      case 'pg-rewind':
      case 'pg-set-synchronous':
      case 'pg-write-term-row':
      case 'save-local':
        return { type: 'none' };
    }
  }

  #inspect(): Extract<Outcome, { type: 'data' }>['data'] {
    if (!this.#data) return { kind: 'empty' };
    const position = { timeline: this.#timeline, checkpointLsn: 50n as Lsn };
    return { kind: 'data', systemId: '7', ...position, cleanShutdown: true, wasFollower: this.#recovery };
  }

  #sample(): PostgresSample {
    return {
      pid: 100,
      version: '17.0',
      systemId: '7',
      inRecovery: this.#recovery,
      timeline: this.#timeline,
      flushedLsn: 100n as Lsn,
      replayedLsn: 100n as Lsn,
      receiver: { running: false, streaming: false, fromHost: null, fromPort: null },
      standbys: [],
      synchronousStandbyNames: '',
      history: [],
    };
  }
}

/** Stands for the watch on the store, so that a test can silence it with the rest. */
const PROBE: Answerable = { type: 'keep-alive', lease: 'watch' as never, id: -1, timeoutMs: 0 };

export function isStoreEffect(effect: Answerable): boolean {
  return ['grant-lease', 'keep-alive', 'transact', 'revoke-lease'].includes(effect.type);
}
