import type { LeaderPass } from '../cluster/types.ts';
import type { Backend } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import { PoolFullError } from '../pool/pool-error.ts';
import type { Waiter } from '../pool/wait-queue.ts';
import { attach, place, stopWaiting } from './placement.ts';
import { refuseUnit } from './refuse.ts';
import { sendUnit } from './send.ts';
import type { Need } from './level.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * A unit that waits in a pool's queue until a connection comes free: what most units of a busy proxy do, so that it has no promise,
 * signal or timer. Whatever else may come of it (the pool ends, the leader changes) is left to `place`.
 */
export class QueuedUnit implements Waiter {
  readonly sinceMs: number;
  readonly #session: Session;
  readonly #unit: Unit;
  readonly #need: Need;
  readonly #pool: Pool;
  readonly #pass: LeaderPass | null;

  constructor(session: Session, unit: Unit, need: Need, pool: Pool, pass: LeaderPass | null) {
    this.sinceMs = session.context.clock.nowMs();
    this.#session = session;
    this.#unit = unit;
    this.#need = need;
    this.#pool = pool;
    this.#pass = pass;
  }

  served(backend: Backend): void {
    queueMicrotask(() => this.#start(backend));
  }

  refused(error: Error): void {
    this.#pass?.leave();
    queueMicrotask(() => this.#onRefused(error));
  }

  /** The client has gone, or wants it no more. */
  abort(reason: Error): void {
    this.#pool.queue.leave(this);
    this.#pass?.leave();
    stopWaiting(this.#session);
    queueMicrotask(() => {
      if (this.#session.phase === 'placing') refuseUnit(this.#session, this.#unit, reason);
    });
  }

  #start(backend: Backend): void {
    const session = this.#session;
    const pass = this.#pass;
    if (session.waiting !== this) {
      this.#pool.give(backend); // it was aborted meanwhile
      return;
    }
    stopWaiting(session);
    if (backend.closed || (pass !== null && !session.context.lease.stillLeads(pass.term))) {
      this.#pool.give(backend);
      pass?.leave();
      place(session, this.#unit, this.#need);
      return;
    }
    attach(session, { backend, pool: this.#pool, pass });
    sendUnit(session, this.#unit);
    session.readOn(); // the rest of a long message answers nothing until it is whole
  }

  #onRefused(error: Error): void {
    const session = this.#session;
    if (session.waiting !== this) return;
    stopWaiting(session);
    if (error instanceof PoolFullError) {
      refuseUnit(session, this.#unit, error);
      return;
    }
    if (this.#pass === null) this.#unit.avoid(this.#pool.options.place.node);
    place(session, this.#unit, this.#need);
  }
}
