import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/logger.ts';
import { assertNever } from '../common/never.ts';
import { EffectRunner } from './agent/effects.ts';
import { Reachability } from './agent/reachability.ts';
import { readClusterView } from './core/cluster-view.ts';
import type { AgentState } from './core/state.ts';
import type { Effect, Input, LocalState, Step } from './core/types.ts';
import type { PostgresServer } from './postgres/port.ts';
import { keysOf } from './store/keys.ts';
import type { LeaseStore, StoreSnapshot } from './store/port.ts';
import type { Watchdog } from './watchdog.ts';

export interface AgentParts {
  readonly step: Step;
  readonly initial: AgentState;
  readonly store: LeaseStore;
  /** For the log. */
  readonly endpoints: readonly string[];
  readonly postgres: PostgresServer;
  readonly watchdog: Pick<Watchdog, 'feed'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly saveLocal: (local: LocalState) => Promise<void>;
}

type BareInput = Input extends infer One
  ? One extends Input
    ? Omit<One, 'nowMs' | 'random' | 'wallTime'>
    : never
  : never;

/** The core wants one at least every 50 ms. */
const TICK_MS = 25;
const REFRESH_MS = 1000;
const KILL_LIMIT_MS = 5000;

/**
 * The shell around the decision core: gives every input to `step`, one strictly after the other and none later than
 * it came, and carries out the effects. It decides nothing itself, but for one thing: when the core throws, PostgreSQL is
 * killed, because nobody knows any more what this node may do.
 */
export class Agent {
  readonly #parts: AgentParts;
  readonly #effects: EffectRunner;
  readonly #reachability: Reachability;
  readonly #following = new AbortController();
  readonly #finished: Promise<string | null>;
  #resolve: (error: string | null) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #state: AgentState;
  #over = false;
  #tick: NodeJS.Timeout | undefined;
  #damaged = '';

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#state = parts.initial;
    this.#finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#finished.catch(() => undefined); // told to whoever asks
    this.#reachability = new Reachability(parts.endpoints, parts.logger);
    const { store, postgres, clock, saveLocal } = parts;
    const { node } = parts.initial.config;
    this.#effects = new EffectRunner({
      node,
      store,
      postgres,
      clock,
      saveLocal,
      onAnswer: (answer) => this.#give(answer),
    });
  }

  get state(): AgentState {
    return this.#state;
  }

  /**
   * Resolves when the core has ended: null, or why it cannot go on. Rejects with what the core threw, after
   * PostgreSQL was killed.
   */
  get finished(): Promise<string | null> {
    return this.#finished;
  }

  start(): void {
    const { postgres, store } = this.#parts;
    postgres.onExit(() => this.#give({ type: 'postgres-exit' }));
    this.#give({ type: 'tick' });
    this.#tick = setInterval(() => this.#give({ type: 'tick' }), TICK_MS);
    store.follow(keysOf(this.#state.config.cluster).prefix, {
      refreshMs: REFRESH_MS,
      signal: this.#following.signal,
      onSnapshot: (snapshot) => this.#onSnapshot(snapshot),
      onUnreachable: (error) => {
        this.#reachability.failed(error, this.#parts.clock.nowMs());
        this.#give({ type: 'store-unreachable' });
      },
    });
  }

  command(command: 'failover' | 'stop'): void {
    this.#give({ type: 'command', command });
  }

  /** An operator's consent to a loss (`election/core/forced.ts`). */
  force(by: string): void {
    this.#give({ type: 'command', command: 'force', by });
  }

  /** Ends it without the core's consent: nothing is decided or carried out any more. PostgreSQL is the caller's to kill. */
  abandon(): void {
    this.#end();
    this.#resolve(null);
  }

  #onSnapshot(snapshot: StoreSnapshot): void {
    this.#reachability.reached(this.#parts.clock.nowMs());
    const view = readClusterView(this.#state.config.cluster, snapshot);
    const damaged = view.damaged.join(', ');
    if (damaged !== this.#damaged && damaged !== '') {
      this.#parts.logger.error(
        { event: 'store.damaged', keys: view.damaged },
        `etcd holds unreadable keys: ${damaged}`,
      );
    }
    this.#damaged = damaged;
    this.#give({ type: 'cluster', view });
  }

  #give(bare: BareInput): void {
    if (this.#over) return;
    const nowMs = this.#parts.clock.nowMs();
    const input = { ...bare, nowMs, random: Math.random(), wallTime: new Date().toISOString() } as Input;
    try {
      const { state, effects } = this.#parts.step(this.#state, input);
      this.#state = state;
      for (const effect of effects) this.#begin(effect);
    } catch (error) {
      this.#fail(error, input.type);
    }
  }

  #begin(effect: Effect): void {
    switch (effect.type) {
      case 'log':
        this.#parts.logger[effect.level]({ event: effect.event, ...effect.fields }, effect.message);
        return;
      case 'feed-watchdog':
        return this.#parts.watchdog.feed(effect.deadlineMs);
      case 'cancel':
        return this.#effects.cancel(effect.id);
      case 'finished':
        this.#end();
        return this.#resolve(effect.error);
      case 'grant-lease':
      case 'keep-alive':
      case 'transact':
      case 'revoke-lease':
      case 'save-local':
      case 'pg-inspect':
      case 'pg-initialise':
      case 'pg-clone':
      case 'pg-rewind':
      case 'pg-start':
      case 'pg-open':
      case 'pg-stop':
      case 'pg-kill':
      case 'pg-follow':
      case 'pg-promote':
      case 'pg-set-synchronous':
      case 'pg-write-term-row':
      case 'pg-ensure-slots':
      case 'pg-checkpoint':
      case 'pg-sample':
        return this.#effects.start(effect);
      default:
        return assertNever(effect, 'effect');
    }
  }

  #end(): void {
    this.#over = true;
    clearInterval(this.#tick);
    this.#following.abort(new Error('the agent is over'));
    this.#effects.cancelAll();
  }

  /** The core contradicts itself. The watchdog kills PostgreSQL, and so do we, who can tell when that is done. */
  #fail(error: unknown, inputType: string): void {
    const { logger, watchdog, postgres, clock } = this.#parts;
    this.#end();
    logger.fatal(
      { event: 'agent.invariant', err: error, input: inputType, mode: this.#state.mode.kind },
      `the agent has met a state that its own logic excludes (${String(error)}); PostgreSQL is killed and the agent ends`,
    );
    watchdog.feed(clock.nowMs() - 1);
    const limit = setTimeout(() => this.#reject(error), KILL_LIMIT_MS);
    postgres
      .killNow()
      .catch((failure: unknown) => logger.error({ event: 'postgres.kill-failed', err: failure }, 'PostgreSQL resists'))
      .finally(() => {
        clearTimeout(limit);
        this.#reject(error);
      });
  }
}
