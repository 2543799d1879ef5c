import type { PoolLimits } from '../../common/config/pool-limits.ts';
import { ClientError } from '../../common/errors.ts';
import type { Credentials } from '../auth/types.ts';
import { forget, type NodeLoad, onAnswered, onAsked, onFailed } from '../routing/node-load.ts';
import type { Backend, BackendOwner } from './backend.ts';
import type { Seat } from './capacity.ts';
import { LastFailure } from './last-failure.ts';
import { openBackend } from './open-backend.ts';
import { poolFull } from './pool-error.ts';
import type { PoolHost, PoolOptions } from './pool-host.ts';
import type { Tenant } from './room.ts';
import { Stock } from './stock.ts';
import { type Waiter, WaitQueue } from './wait-queue.ts';

/**
 * Server connections of one user to one database on one node in one role. Last in, first out, so that what is
 * not needed grows old and is closed. Waiters are served in order of arrival.
 */
export class Pool implements BackendOwner, Tenant {
  readonly options: Omit<PoolOptions, 'limits' | 'credentials'>;
  readonly seat: Seat;
  limits: PoolLimits;
  lastUsedMs: number;
  paused = false; // by `pause` and `resume`
  renewedAtMs = -Infinity; // all connections that began before are to go
  readonly #host: PoolHost;
  #credentials: Credentials; // the newest proof of identity of the user, for new connections
  readonly stock: Stock;
  readonly queue: WaitQueue;
  readonly #load: NodeLoad;
  readonly #abort = new AbortController();
  #opening = 0;
  readonly #failure = new LastFailure();

  constructor(options: PoolOptions, host: PoolHost) {
    const { place, user, database } = options;
    this.options = options;
    this.#host = host;
    this.seat = { node: place.node, database, user };
    this.limits = options.limits;
    this.#credentials = options.credentials;
    this.lastUsedMs = host.clock.nowMs();
    this.#load = host.loadOf(place.node);
    this.stock = new Stock(this.#load);
    this.queue = new WaitQueue((by) => {
      this.#load.waiting += by;
      if (this.queue.size === 0) host.room.unblock(this);
      else if (by === 1) host.onWaiting();
    });
  }

  get closed(): boolean {
    return this.#abort.signal.aborted;
  }

  get opening(): number {
    return this.#opening;
  }

  /** Places that it occupies, in whatever state. */
  get size(): number {
    return this.stock.all.size + this.#opening + this.stock.leaving;
  }

  get wants(): number {
    if (this.paused || this.closed || this.queue.size === 0 || this.#failure.isRecent(this.#host.clock.nowMs()))
      return 0;
    return Math.max(0, Math.min(this.queue.size - this.#opening, this.#maxSize() - this.size));
  }

  get spare(): boolean {
    return this.stock.all.size > this.limits.minSize;
  }

  /** Connections are opened with this from now on; that the last attempt failed says nothing about the next. */
  renew(credentials: Credentials): void {
    this.#credentials = credentials;
    this.#failure.forget();
  }

  tryTake(): Backend | null {
    if (this.queue.size > 0) return null; // no overtaking
    return this.stock.pop();
  }

  /**
   * A connection, as soon as there is one. Rejects with PoolFullError when too many wait or it took too long, with
   * the server's own refusal, or with BACKEND_UNREACHABLE; with the signal's reason when that aborts.
   */
  take(signal: AbortSignal): Promise<Backend> {
    const backend = this.tryTake();
    if (backend !== null) return Promise.resolve(backend);
    const refusal = signal.aborted ? signal.reason : this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const wait = this.queue.wait(this.#host.clock.nowMs(), signal);
    this.grow();
    return wait;
  }

  /** The same for who has its own way to wait, after `tryTake`. False: `take` tells why not. */
  enqueue(waiter: Waiter): boolean {
    if (this.#refusal() !== null) return false;
    this.queue.enter(waiter);
    this.grow();
    return true;
  }

  /** Why nobody can wait now; null: they can. */
  #refusal(): unknown {
    if (this.closed) return this.#abort.signal.reason;
    const { all, leaving } = this.stock;
    if (all.size === 0 && this.#failure.isRecent(this.#host.clock.nowMs())) return this.#failure.reason;
    // Beyond the bound are those for whom connections may still be opened.
    const bound = this.limits.maxWaiting + Math.max(0, this.#maxSize() - all.size - leaving);
    return this.queue.size >= bound ? poolFull(this, this.#host.room, 'too many wait already') : null;
  }

  /** Back into the pool. One that is not clean (outside a transaction, everything answered) is closed. `sinceMs`: not used since. */
  give(backend: Backend, sinceMs?: number): void {
    if (backend.closed) return;
    backend.detach();
    if (backend.cancelsUnderway > 0) {
      backend.afterCancels = () => this.give(backend); // else a late cancel would hit the next user
      return;
    }
    const nowMs = this.#host.clock.nowMs();
    this.lastUsedMs = sinceMs ?? nowMs;
    if (!backend.isClean) {
      const { node, role } = this.options.place;
      this.#host.logger.error({ event: 'pool.unclean', node, role }, 'a connection came back in an unknown state');
    }
    const waiting = this.queue.size > 0;
    const yields = waiting && this.#host.room.contended && this.#host.room.yields(this, nowMs);
    if (!backend.isClean || yields || this.#isOver(backend, nowMs)) {
      backend.destroy();
      return;
    }
    backend.idleSinceMs = sinceMs ?? nowMs;
    if (this.queue.serve(backend)) return;
    this.stock.put(backend, sinceMs !== undefined);
    if (this.#host.room.contended) this.#host.room.onIdle();
  }

  onBackendAsked(backend: Backend): void {
    if (this.options.place.role === 'leader') return;
    backend.askedAtMs = this.#host.clock.nowMs();
    onAsked(this.#load, backend.askedAtMs);
  }

  onBackendAnswered(backend: Backend): void {
    onAnswered(this.#load, backend.askedAtMs, this.#host.clock.nowMs());
    backend.askedAtMs = 0;
  }

  onBackendLost(): void {
    onFailed(this.#load, this.#host.clock.nowMs(), false);
  }

  onBackendClosed(backend: Backend): void {
    if (backend.askedAtMs !== 0) forget(this.#load, this.#host.clock.nowMs());
    backend.askedAtMs = 0;
    this.stock.remove(backend);
    this.#host.room.leaving();
    this.grow(); // or be told when there is room, wherever that comes from
  }

  onBackendGone(): void {
    this.stock.gone();
    this.#host.room.release(this.seat, true);
    this.grow();
    this.#host.onGone();
  }

  reconfigure(limits: PoolLimits): void {
    this.limits = limits;
    this.grow();
  }

  /** Every connection that there is now is closed when it is free: within `spreadMs`, not all at once. */
  renewConnections(nowMs: number, spreadMs: number): void {
    for (const backend of this.stock.all) {
      backend.retireAtMs = Math.min(backend.retireAtMs, nowMs + this.#host.random() * spreadMs);
    }
    if (spreadMs > 0) return;
    this.renewedAtMs = nowMs;
    for (const backend of this.stock.idleOnes()) backend.destroy();
  }

  /** Nobody gets a connection, and those that come free are closed, until `resume`. */
  pause(): void {
    this.paused = true;
    this.#host.room.unblock(this);
    for (const backend of this.stock.idleOnes()) backend.destroy();
  }

  resume(): void {
    this.paused = false;
    this.grow();
  }

  /** Called from time to time while somebody waits. */
  tick(nowMs: number): void {
    const { waitTimeoutMs } = this.limits;
    this.queue.refuse(nowMs - waitTimeoutMs, () =>
      poolFull(this, this.#host.room, `none came free in ${waitTimeoutMs} ms`),
    );
    this.grow();
  }

  /** Closes what has been idle or alive for too long. Called every second or so. */
  sweep(nowMs: number): void {
    for (const backend of this.stock.idleOnes()) {
      const unused = nowMs - backend.idleSinceMs > this.limits.idleTimeoutMs && this.spare;
      if (unused || this.#isOver(backend, nowMs)) backend.destroy();
    }
  }

  /** Opens connections in advance, up to `minSize`, where there is room without taking anything from others. */
  fill(): void {
    if (this.closed || this.paused || this.#failure.isRecent(this.#host.clock.nowMs())) return;
    while (this.size < this.limits.minSize && this.#host.room.claim(this)) this.#startOpening();
  }

  /** Every connection, used or not, ends at once; users are told. */
  close(reason: string): void {
    if (this.closed) return;
    const error = new ClientError({ sqlState: '57P01', message: reason, safeToRetry: true });
    this.#abort.abort(error);
    this.queue.refuseAll(error);
    for (const backend of this.stock.all) backend.lose(reason);
  }

  /** Users are told, those who wait are refused, and nobody gets a connection until `resume`. */
  kill(reason: string): void {
    this.pause();
    this.queue.refuseAll(new ClientError({ sqlState: '57P01', message: reason }));
    for (const backend of this.stock.all) backend.lose(reason);
  }

  grow(): void {
    const { room } = this.#host;
    while (this.wants > 0 && room.claim(this)) this.#startOpening();
    if (this.wants === 0) room.unblock(this);
  }

  #maxSize(): number {
    const { size, reserveSize, reserveAfterMs } = this.limits;
    if (reserveSize === 0) return size;
    const waitedMs = this.#host.clock.nowMs() - this.queue.sinceMs;
    return waitedMs >= reserveAfterMs ? size + reserveSize : size;
  }

  /** Not to be used again. */
  #isOver(backend: Backend, nowMs: number): boolean {
    if (this.closed || this.paused || backend.soiled || nowMs >= backend.retireAtMs) return true;
    if (nowMs - backend.createdAtMs > this.limits.maxLifetimeMs * backend.lifeShare) return true;
    return this.queue.size === 0 && this.stock.all.size + this.#opening > this.limits.size; // the reserve, or more than a reload allows
  }

  #startOpening(): void {
    this.#opening += 1;
    void this.#open();
  }

  async #open(): Promise<void> {
    const { signal } = this.#abort;
    const options = { ...this.options, credentials: this.#credentials };
    let backend: Backend;
    try {
      backend = await openBackend(this, this.#host, options, {
        signal,
        connectTimeoutMs: this.limits.connectTimeoutMs,
      });
    } catch (error) {
      this.#opening -= 1;
      this.#onOpenFailed(error);
      this.#host.room.release(this.seat, false);
      this.grow();
      this.#host.onGone();
      return;
    }
    this.#opening -= 1;
    this.stock.add(backend);
    this.give(backend);
  }

  #onOpenFailed(error: unknown): void {
    this.#failure.note(error, this.#host.clock.nowMs());
    if (!(error instanceof ClientError)) onFailed(this.#load, this.#host.clock.nowMs(), true);
    const { node, role } = this.options.place;
    // Of those that nobody waits for, some fail before each new leader lets clients in.
    const level = this.queue.size > 0 ? 'warn' : 'debug';
    this.#host.logger[level]({ event: 'pool.connect-failed', node, role, error: String(error) }, 'no connection');
    if (this.stock.all.size === 0) this.queue.refuseAll(error);
    // With connections alive the others still have something to wait for; also the first, where the server has too many.
    else if (!(error instanceof ClientError && error.sqlState === '53300')) this.queue.refuseFirst(error);
  }
}
