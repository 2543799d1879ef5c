import type { Clock } from '../../common/clock.ts';
import { ClientError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import type { BackendLogin, BackendTarget, Credentials } from '../auth/types.ts';
import { NO_SETTINGS } from '../routing/settings-image.ts';
import { Backend, type BackendOwner, type BackendPlace } from './backend.ts';

export interface PoolLimits {
  readonly size: number;
  readonly maxWaiting: number;
  readonly waitTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs: number;
  readonly connectTimeoutMs: number;
}

export interface PoolOptions {
  readonly place: BackendPlace;
  readonly user: string;
  readonly database: string;
  readonly credentials: Credentials;
  readonly tls: BackendTarget['tls'];
  readonly limits: PoolLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly login: (
    target: BackendTarget,
    options: { readonly signal: AbortSignal; readonly connectTimeoutMs: number },
  ) => Promise<BackendLogin>;
}

interface Waiter {
  readonly sinceMs: number;
  readonly resolve: (backend: Backend) => void;
  readonly reject: (error: unknown) => void;
}

/** Too many clients for the connections that the pool may have: an error of the proxy, not of a server. */
export class PoolFullError extends ClientError {}

/** After a failed connection attempt, nobody tries again for so long: the callers go elsewhere or wait. */
const RETRY_PAUSE_MS = 50;

/**
 * Server connections of one user to one database on one node in one role. Last in, first out, so that what is
 * not needed grows old and is closed. Waiters are served in order of arrival.
 */
export class Pool implements BackendOwner {
  readonly options: PoolOptions;
  /** The newest proof of identity of the user: used for new connections. */
  #credentials: Credentials;
  lastUsedMs: number;
  readonly #idle: Backend[] = [];
  readonly #all = new Set<Backend>();
  readonly #waiters: Waiter[] = [];
  readonly #abort = new AbortController();
  #opening = 0;
  #failedAtMs = -Infinity;
  #failure: unknown = null;

  constructor(options: PoolOptions) {
    this.options = options;
    this.#credentials = options.credentials;
    this.lastUsedMs = options.clock.nowMs();
  }

  get closed(): boolean {
    return this.#abort.signal.aborted;
  }

  get counts(): { idle: number; all: number; opening: number; waiting: number; maxWaitMs: number } {
    const first = this.#waiters[0];
    return {
      idle: this.#idle.length,
      all: this.#all.size,
      opening: this.#opening,
      waiting: this.#waiters.length,
      maxWaitMs: first === undefined ? 0 : this.options.clock.nowMs() - first.sinceMs,
    };
  }

  get backends(): ReadonlySet<Backend> {
    return this.#all;
  }

  /** Connections are opened with this from now on; that the last attempt failed says nothing about the next. */
  renew(credentials: Credentials): void {
    this.#credentials = credentials;
    this.#failedAtMs = -Infinity;
  }

  /** Units of work there now, and those that wait for a connection: what load balancing compares. */
  get busy(): number {
    return this.#all.size - this.#idle.length + this.#waiters.length;
  }

  tryTake(): Backend | null {
    if (this.#waiters.length > 0) return null; // no overtaking
    return this.#idle.pop() ?? null;
  }

  /**
   * A connection, as soon as there is one. Rejects with ClientError 53300 when too many wait or it took too long, with
   * the server's own refusal, or with BACKEND_UNREACHABLE; with the signal's reason when that aborts.
   */
  take(signal: AbortSignal): Promise<Backend> {
    const backend = this.tryTake();
    if (backend !== null) return Promise.resolve(backend);
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#all.size === 0 && this.options.clock.nowMs() - this.#failedAtMs < RETRY_PAUSE_MS) {
      return Promise.reject(this.#failure);
    }
    const { maxWaiting } = this.options.limits;
    const room = this.options.limits.size - this.#all.size - this.#opening;
    if (room <= 0 && this.#waiters.length >= maxWaiting) return Promise.reject(this.#full('too many wait already'));
    return this.#wait(signal);
  }

  #wait(signal: AbortSignal): Promise<Backend> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
      };
      const waiter: Waiter = {
        sinceMs: this.options.clock.nowMs(),
        resolve: (backend) => {
          settle();
          resolve(backend);
        },
        reject: (error) => {
          settle();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      };
      const onAbort = (): void => waiter.reject(signal.reason);
      const { waitTimeoutMs } = this.options.limits;
      const timer = setTimeout(() => waiter.reject(this.#full(`none came free in ${waitTimeoutMs} ms`)), waitTimeoutMs);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
      this.#grow();
    });
  }

  /** Back into the pool, clean: outside a transaction, with nothing pending. */
  give(backend: Backend): void {
    if (backend.closed) return;
    backend.detach();
    if (backend.cancelsUnderway > 0) {
      backend.afterCancels = () => this.give(backend); // else a late cancel would hit the next user
      return;
    }
    const nowMs = this.options.clock.nowMs();
    this.lastUsedMs = nowMs;
    if (this.closed || backend.soiled || nowMs - backend.createdAtMs > this.options.limits.maxLifetimeMs) {
      backend.destroy();
      return;
    }
    backend.idleSinceMs = nowMs;
    const waiter = this.#waiters[0];
    if (waiter === undefined) this.#idle.push(backend);
    else waiter.resolve(backend);
  }

  onBackendClosed(backend: Backend): void {
    this.#all.delete(backend);
    const index = this.#idle.indexOf(backend);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#grow();
  }

  /** Closes what has been idle or alive for too long. Called every second or so. */
  sweep(nowMs: number): void {
    const { idleTimeoutMs, maxLifetimeMs } = this.options.limits;
    for (const backend of this.#idle.slice()) {
      const tooOld = nowMs - backend.createdAtMs > maxLifetimeMs;
      if (tooOld || nowMs - backend.idleSinceMs > idleTimeoutMs) backend.destroy();
    }
  }

  /** Takes every idle backend that has been silent for so long, for a check that it still answers. */
  takeSilentSince(beforeMs: number): Backend[] {
    const stale = this.#idle.filter((backend) => Math.max(backend.idleSinceMs, backend.checkedAtMs) < beforeMs);
    for (const backend of stale) this.#idle.splice(this.#idle.indexOf(backend), 1);
    return stale;
  }

  /** Every connection, used or not, ends at once; users are told. */
  close(reason: string): void {
    if (this.closed) return;
    const error = new ClientError({ sqlState: '57P01', message: reason, safeToRetry: true });
    this.#abort.abort(error);
    for (const waiter of this.#waiters.slice()) waiter.reject(error);
    for (const backend of this.#all) backend.lose(reason);
  }

  #grow(): void {
    if (this.closed) return;
    while (this.#waiters.length > this.#opening && this.#all.size + this.#opening < this.options.limits.size) {
      this.#opening += 1;
      void this.#open();
    }
  }

  async #open(): Promise<void> {
    const { place, user, database, tls, limits, clock } = this.options;
    const parameters = new Map([['client_encoding', 'UTF8']]);
    const { host, port } = place;
    const target = { host, port, user, database, credentials: this.#credentials, parameters, tls };
    try {
      const login = await this.options.login(target, {
        signal: this.#abort.signal,
        connectTimeoutMs: limits.connectTimeoutMs,
      });
      this.#opening -= 1;
      const backend = new Backend(login, place, this, NO_SETTINGS, clock.nowMs(), tls.mode !== 'disable');
      this.#all.add(backend);
      this.give(backend);
    } catch (error) {
      this.#opening -= 1;
      this.#onOpenFailed(error);
    }
  }

  #onOpenFailed(error: unknown): void {
    this.#failedAtMs = this.options.clock.nowMs();
    this.#failure = error;
    const { node, role } = this.options.place;
    this.options.logger.warn({ event: 'pool.connect-failed', node, role, error: String(error) }, 'no connection');
    // With connections alive the others still have something to wait for.
    const failed = this.#all.size > 0 ? this.#waiters.slice(0, 1) : [...this.#waiters];
    for (const waiter of failed) waiter.reject(error);
    this.#grow();
  }

  #full(what: string): PoolFullError {
    const { place, user, database, limits } = this.options;
    return new PoolFullError({
      sqlState: '53300',
      message: `no server connection for user "${user}" to database "${database}" on ${place.node}: ${what}`,
      detail: `The pool has ${this.#all.size} of ${limits.size} connections, all in use; ${this.#waiters.length} clients wait.`,
      hint: 'Raise proxy.pool.size, or look in SHOW POOLS and SHOW CLIENTS for who keeps connections in open transactions.',
    });
  }
}
