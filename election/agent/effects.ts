import type { Clock } from '../../common/clock.ts';
import { assertNever } from '../../common/never.ts';
import type { Effect, Failure, LocalState, Outcome, PostgresEffect, StoreEffect } from '../core/types.ts';
import type { PostgresServer } from '../postgres/port.ts';
import type { LeaseStore } from '../store/port.ts';
import { EffectTimeout, toFailure, unlessAborted } from './failures.ts';

/** An effect that takes time and is answered. */
export type TimedEffect = Extract<Effect, { readonly timeoutMs: number }>;

export type Answer =
  | { readonly type: 'effect-done'; readonly id: number; readonly outcome: Outcome }
  | { readonly type: 'effect-failed'; readonly id: number; readonly failure: Failure };

export interface EffectParts {
  /** This node. */
  readonly node: string;
  readonly store: LeaseStore;
  readonly postgres: PostgresServer;
  readonly clock: Clock;
  readonly saveLocal: (local: LocalState) => Promise<void>;
  /** Called once for each effect that was not cancelled, in a turn of the event loop of its own. */
  readonly onAnswer: (answer: Answer) => void;
}

const NONE: Outcome = { type: 'none' };
/** The store keeps the deadline itself and then knows more: whether the request can have been carried out. */
const STORE_GRACE_MS = 200;
/** What an aborted operation on the server gets to end before the core is told that it failed. */
const WIND_DOWN_MS = 2000;
/**
 * What fails at once (no connection to etcd) may be tried again at once. No answer comes without a turn of the event
 * loop, and none of a failure sooner than this: else timers, signals and PostgreSQL's exit would never be heard again.
 */
const QUICKEST_FAILURE_MS = 20;

/**
 * Carries effects out on the real parts. How many run at once is bounded by the core, which starts one in each of
 * its lanes. An operation that was called off may still be ending: whatever excludes it waits for that, within its
 * own time.
 */
export class EffectRunner {
  readonly #parts: EffectParts;
  readonly #running = new Map<number, AbortController>();
  /** Settles when every operation that excludes others has ended. */
  #exclusive: Promise<void> = Promise.resolve();
  #exclusiveCount = 0;

  constructor(parts: EffectParts) {
    this.#parts = parts;
  }

  start(effect: TimedEffect): void {
    const { id, timeoutMs } = effect;
    const controller = new AbortController();
    const { signal } = controller;
    this.#running.set(id, controller);
    const startedMs = performance.now();
    const give = (what: Answer) => {
      if (this.#running.get(id) !== controller) return; // cancelled, or answered already
      this.#running.delete(id);
      this.#parts.onAnswer(what);
    };
    const answer = (what: Answer) => {
      clearTimeout(timer);
      const elapsedMs = performance.now() - startedMs;
      if (what.type === 'effect-done' || elapsedMs >= QUICKEST_FAILURE_MS) setImmediate(give, what);
      else setTimeout(give, QUICKEST_FAILURE_MS - elapsedMs, what);
    };
    const fail = (error: unknown) => answer({ type: 'effect-failed', id, failure: toFailure(error, signal) });
    const limitMs = isStoreEffect(effect) ? timeoutMs + STORE_GRACE_MS : timeoutMs;
    let timer = setTimeout(() => {
      const reason = new EffectTimeout(effect.type, timeoutMs);
      controller.abort(reason);
      if (isExclusive(effect)) timer = setTimeout(() => fail(reason), WIND_DOWN_MS);
      else fail(reason);
    }, limitMs);
    this.#carryOut(effect, signal).then((outcome) => answer({ type: 'effect-done', id, outcome }), fail);
  }

  /** Its answer, should there still be one, is dropped. */
  cancel(id: number): void {
    const controller = this.#running.get(id);
    this.#running.delete(id);
    controller?.abort(new Error('cancelled'));
  }

  cancelAll(): void {
    for (const id of this.#running.keys()) this.cancel(id);
  }

  async #carryOut(effect: TimedEffect, signal: AbortSignal): Promise<Outcome> {
    if (isStoreEffect(effect)) return await this.#store(effect, signal);
    if (effect.type === 'save-local') {
      await this.#parts.saveLocal(effect.local);
      return NONE;
    }
    if (effect.type === 'pg-kill') {
      await this.#kill(signal);
      return NONE;
    }
    if (!isExclusive(effect)) return await this.#postgres(effect, signal);
    return await this.#exclusively(signal, () => this.#postgres(effect, signal));
  }

  async #store(effect: StoreEffect, signal: AbortSignal): Promise<Outcome> {
    const { store, clock } = this.#parts;
    const options = { deadlineMs: effect.timeoutMs, signal };
    const sentAtMs = clock.nowMs();
    switch (effect.type) {
      case 'grant-lease':
        return { type: 'lease', ...(await store.grantLease(effect.ttlMs, options)), sentAtMs };
      case 'keep-alive':
        return { type: 'kept', ttlMs: (await store.keepAlive(effect.lease, options)).ttlMs, sentAtMs };
      case 'transact':
        return { type: 'transaction', ...(await store.transact(effect.transaction, options)), sentAtMs };
      case 'revoke-lease':
        await store.revokeLease(effect.lease, options);
        return NONE;
      default:
        return assertNever(effect, 'store effect');
    }
  }

  async #postgres(effect: Exclude<PostgresEffect, { type: 'pg-kill' }>, signal: AbortSignal): Promise<Outcome> {
    const { postgres } = this.#parts;
    switch (effect.type) {
      case 'pg-inspect':
        return { type: 'data', data: await postgres.inspect(signal) };
      case 'pg-promote':
        return { type: 'promoted', result: await postgres.promote(signal) };
      case 'pg-sample':
        return { type: 'sample', sample: await postgres.sample(signal) };
      case 'pg-initialise':
        await postgres.initialise(signal);
        return NONE;
      case 'pg-clone':
        await postgres.clone(effect.from, effect.keepAs, signal);
        return NONE;
      case 'pg-rewind':
        await postgres.rewind(effect.from, signal);
        return NONE;
      case 'pg-start':
        await postgres.start({ role: effect.role, peer: effect.peer }, signal);
        return NONE;
      case 'pg-open':
        await postgres.openToClients(effect.open, signal);
        return NONE;
      case 'pg-stop':
        await postgres.stop(effect.mode, signal);
        return NONE;
      case 'pg-follow':
        await postgres.follow(effect.peer, signal);
        return NONE;
      case 'pg-set-synchronous':
        await postgres.setSynchronous(effect.names, effect.k, signal);
        return NONE;
      case 'pg-write-term-row':
        await postgres.writeTermRow(effect.term, this.#parts.node, signal);
        return NONE;
      case 'pg-ensure-slots':
        await postgres.ensureSlots(effect.term, effect.nodes, signal);
        return NONE;
      case 'pg-checkpoint':
        await postgres.checkpoint(signal);
        return NONE;
      default:
        return assertNever(effect, 'PostgreSQL effect');
    }
  }

  /**
   * At once, whatever runs. An operation that was called off a moment ago may be just about to start the server, so
   * the proof that nothing is left counts only once that has ended.
   */
  async #kill(signal: AbortSignal): Promise<void> {
    const { postgres } = this.#parts;
    const others = this.#exclusive;
    await unlessAborted(postgres.killNow(), signal);
    if (this.#exclusiveCount === 0) return;
    await unlessAborted(others, signal);
    await unlessAborted(postgres.killNow(), signal);
  }

  async #exclusively<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#exclusive;
    let release: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#exclusive = before.then(() => ended);
    this.#exclusiveCount++;
    try {
      if (this.#exclusiveCount > 1) await unlessAborted(before, signal);
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#exclusiveCount--;
      release();
    }
  }
}

function isStoreEffect(effect: TimedEffect): effect is StoreEffect {
  return ['grant-lease', 'keep-alive', 'transact', 'revoke-lease'].includes(effect.type);
}

/** `election/core/types.ts` names those that may run beside others. */
const BESIDE_OTHERS = [
  'pg-kill',
  'pg-sample',
  'pg-set-synchronous',
  'pg-write-term-row',
  'pg-ensure-slots',
  'pg-checkpoint',
];

function isExclusive(effect: TimedEffect): boolean {
  return effect.type.startsWith('pg-') && !BESIDE_OTHERS.includes(effect.type);
}
