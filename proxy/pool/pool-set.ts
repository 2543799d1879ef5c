import type { Term } from '../../common/lsn.ts';
import type { Credentials } from '../auth/types.ts';
import type { BackendPlace } from './backend.ts';
import { runInternal } from './internal-query.ts';
import { Pool, type PoolOptions } from './pool.ts';

/** Everything of a pool's options that is the same for all. */
export type PoolDefaults = Omit<PoolOptions, 'place' | 'user' | 'database' | 'credentials'>;

/** Idle connections are asked for a sign of life when they were not used for so long. */
const CHECK_AFTER_MS = 30_000;
const CHECK_TIMEOUT_MS = 5_000;
const SWEEP_MS = 1_000;
/** A pool without connections that nobody used for so long is forgotten. */
const FORGET_AFTER_MS = 60_000;
/** Users whose newest proof is kept; of others, that of the session which needs a pool is taken. */
const MAX_PROOFS = 10_000;

/** All pools of a proxy. Leader pools belong to a term; those of an older one are closed by `endTermsBefore`. */
export class PoolSet {
  readonly #defaults: PoolDefaults;
  readonly #pools = new Map<string, Pool>();
  /** What each user last logged in with: an older session's proof is void once the password was changed. */
  readonly #proofs = new Map<string, Credentials>();
  readonly #timer: NodeJS.Timeout;
  #closed = false;

  constructor(defaults: PoolDefaults) {
    this.#defaults = defaults;
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#timer.unref();
  }

  /** The pool for these; made when there is none. Keep the result only as long as it is not `closed`. */
  poolOf(place: BackendPlace, user: string, database: string, credentials: Credentials): Pool {
    const key = `${place.node}\0${place.host}\0${place.port}\0${place.term ?? place.role}\0${user}\0${database}`;
    let pool = this.#pools.get(key);
    if (pool === undefined || pool.closed) {
      const newest = this.#proofs.get(user) ?? credentials;
      pool = new Pool({ ...this.#defaults, place, user, database, credentials: newest });
      this.#pools.set(key, pool);
      if (this.#closed) pool.close('the proxy is shutting down');
    }
    return pool;
  }

  /** A user has just proven who it is: every pool of it opens its next connections with this. */
  noteLogin(user: string, credentials: Credentials): void {
    this.#proofs.delete(user);
    this.#proofs.set(user, credentials);
    if (this.#proofs.size > MAX_PROOFS) {
      for (const oldest of this.#proofs.keys()) {
        this.#proofs.delete(oldest);
        break;
      }
    }
    for (const pool of this.#pools.values()) if (pool.options.user === user) pool.renew(credentials);
  }

  all(): IterableIterator<Pool> {
    return this.#pools.values();
  }

  /** Work on a node in the role of a follower, over all users: what load balancing compares. */
  busyOf(node: string): number {
    let busy = 0;
    for (const pool of this.#pools.values()) if (pool.options.place.node === node) busy += pool.busy;
    return busy;
  }

  /** S5: leader connections of older terms end at once, used or not. */
  endTermsBefore(term: Term): void {
    for (const [key, pool] of this.#pools) {
      const poolTerm = pool.options.place.term;
      if (poolTerm === null || poolTerm >= term) continue;
      this.#pools.delete(key);
      pool.close(`term ${poolTerm} of leader ${pool.options.place.node} is over`);
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const pool of this.#pools.values()) pool.close('the proxy is shutting down');
    this.#pools.clear();
  }

  #sweep(): void {
    const nowMs = this.#defaults.clock.nowMs();
    for (const [key, pool] of this.#pools) {
      pool.sweep(nowMs);
      const { all, opening, waiting } = pool.counts;
      if (all + opening + waiting === 0 && nowMs - pool.lastUsedMs > FORGET_AFTER_MS) this.#pools.delete(key);
      for (const backend of pool.takeSilentSince(nowMs - CHECK_AFTER_MS)) {
        const sinceMs = backend.idleSinceMs;
        void runInternal(backend, 'SELECT 1', CHECK_TIMEOUT_MS).then(
          () => {
            pool.give(backend);
            backend.idleSinceMs = sinceMs; // the check is not a use
            backend.checkedAtMs = nowMs;
          },
          () => backend.destroy(),
        );
      }
    }
  }
}
