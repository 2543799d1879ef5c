import { StoreError } from '../../common/errors.ts';
import type {
  CallOptions,
  Comparison,
  FollowOptions,
  LeaseGrant,
  LeaseId,
  LeaseStore,
  Operation,
  StoreKey,
  StoreSnapshot,
  Transaction,
  TransactionResult,
} from './port.ts';

interface Lease {
  readonly id: LeaseId;
  readonly grantedTtlMs: number;
  expiresAtMs: number;
}

/**
 * etcd's semantics as a plain state machine: revisions, leases, transactions. It has no clock: every call says what
 * time it is on etcd's own. The simulation puts a network around it, `createMemoryStore` a `LeaseStore`.
 */
export class MemoryEtcd {
  #revision = 1;
  #nextLease = 1;
  readonly #keys = new Map<string, StoreKey>();
  readonly #leases = new Map<LeaseId, Lease>();

  get revision(): number {
    return this.#revision;
  }

  grantLease(nowMs: number, ttlMs: number): LeaseGrant {
    const id = String(this.#nextLease++) as LeaseId;
    this.#leases.set(id, { id, grantedTtlMs: ttlMs, expiresAtMs: nowMs + ttlMs });
    return { lease: id, ttlMs };
  }

  /** `ttlMs` 0: the lease is gone. */
  keepAlive(nowMs: number, id: LeaseId): { readonly ttlMs: number } {
    this.expire(nowMs);
    const lease = this.#leases.get(id);
    if (lease === undefined) return { ttlMs: 0 };
    lease.expiresAtMs = nowMs + lease.grantedTtlMs;
    return { ttlMs: lease.grantedTtlMs };
  }

  timeToLive(nowMs: number, id: LeaseId): { readonly ttlMs: number; readonly grantedTtlMs: number } {
    this.expire(nowMs);
    const lease = this.#leases.get(id);
    if (lease === undefined) return { ttlMs: 0, grantedTtlMs: 0 };
    return { ttlMs: lease.expiresAtMs - nowMs, grantedTtlMs: lease.grantedTtlMs };
  }

  /** Drops the lease and its keys, as one revision. False if there was no such lease. */
  revokeLease(nowMs: number, id: LeaseId): boolean {
    this.expire(nowMs);
    return this.#drop(id);
  }

  /** Throws `StoreError` ('not-applied') for what etcd refuses: an unknown lease, a key put twice in one transaction. */
  transact(nowMs: number, transaction: Transaction): TransactionResult {
    this.expire(nowMs);
    const succeeded = transaction.compare.every((comparison) => this.#holds(comparison));
    const operations = succeeded ? transaction.then : (transaction.otherwise ?? []);
    // etcd checks both branches before it runs either.
    this.#check(transaction.then, succeeded);
    this.#check(transaction.otherwise ?? [], !succeeded);
    const writes = operations.some((o) => o.type === 'put' || (o.type === 'delete' && this.#keys.has(o.key)));
    if (writes) this.#revision++;
    const gets: (StoreKey | null)[] = [];
    for (const operation of operations) this.#run(operation, gets);
    return { succeeded, revision: this.#revision, gets };
  }

  readAll(nowMs: number, prefix: string): StoreSnapshot {
    this.expire(nowMs);
    const keys = new Map<string, StoreKey>();
    for (const [key, value] of this.#keys) if (key.startsWith(prefix)) keys.set(key, value);
    return { revision: this.#revision, keys };
  }

  get(key: string): StoreKey | null {
    return this.#keys.get(key) ?? null;
  }

  /** Drops what has expired. Returns whether any key went with it. */
  expire(nowMs: number): boolean {
    let changed = false;
    for (const lease of this.#leases.values()) {
      if (lease.expiresAtMs <= nowMs) changed = this.#drop(lease.id) || changed;
    }
    return changed;
  }

  /** When the next lease expires; null without a lease. */
  nextExpiryMs(): number | null {
    let next: number | null = null;
    for (const lease of this.#leases.values()) {
      if (next === null || lease.expiresAtMs < next) next = lease.expiresAtMs;
    }
    return next;
  }

  /** A new etcd leader grants every lease its full TTL again. */
  extendAllLeases(nowMs: number): void {
    for (const lease of this.#leases.values()) lease.expiresAtMs = nowMs + lease.grantedTtlMs;
  }

  #drop(id: LeaseId): boolean {
    if (!this.#leases.delete(id)) return false;
    const attached = [...this.#keys.values()].filter((k) => k.lease === id);
    if (attached.length > 0) this.#revision++;
    for (const { key } of attached) this.#keys.delete(key);
    return true;
  }

  #holds(comparison: Comparison): boolean {
    const key = this.#keys.get(comparison.key);
    switch (comparison.type) {
      case 'create-revision':
        return (key?.createRevision ?? 0) === comparison.equals;
      case 'mod-revision':
        return (key?.modRevision ?? 0) === comparison.equals;
    }
  }

  #check(operations: readonly Operation[], runs: boolean): void {
    const put = new Set<string>();
    for (const operation of operations) {
      if (operation.type === 'get') continue;
      if (put.has(operation.key)) throw new StoreError('not-applied', `duplicate key in transaction: ${operation.key}`);
      put.add(operation.key);
      const lease = operation.type === 'put' ? operation.lease : undefined;
      if (runs && lease !== undefined && !this.#leases.has(lease)) {
        throw new StoreError('not-applied', `requested lease not found: ${lease}`);
      }
    }
  }

  #run(operation: Operation, gets: (StoreKey | null)[]): void {
    switch (operation.type) {
      case 'get':
        gets.push(this.#keys.get(operation.key) ?? null);
        return;
      case 'delete':
        this.#keys.delete(operation.key);
        return;
      case 'put':
        this.#keys.set(operation.key, {
          key: operation.key,
          value: operation.value,
          createRevision: this.#keys.get(operation.key)?.createRevision ?? this.#revision,
          modRevision: this.#revision,
          lease: operation.lease ?? null,
        });
        return;
    }
  }
}

/**
 * A `LeaseStore` over a `MemoryEtcd`, for unit tests within one process: no network, no loss. `nowMs` is etcd's clock.
 * Several stores over one `MemoryEtcd` do not see each other's changes before their `refreshMs`; share one store.
 */
export function createMemoryStore(nowMs: () => number, etcd: MemoryEtcd = new MemoryEtcd()): LeaseStore {
  const followers = new Set<() => void>();
  const closed = new AbortController();
  const call = async <T>(options: CallOptions, work: () => T): Promise<T> => {
    if (closed.signal.aborted) throw new StoreError('not-applied', 'the store is closed');
    if (options.signal?.aborted) throw new StoreError('not-applied', 'aborted before it was sent');
    const before = etcd.revision;
    const result = work();
    if (etcd.revision !== before) for (const notify of followers) notify();
    return result;
  };
  return {
    grantLease: (ttlMs, options) => call(options, () => etcd.grantLease(nowMs(), ttlMs)),
    keepAlive: (lease, options) => call(options, () => etcd.keepAlive(nowMs(), lease)),
    timeToLive: (lease, options) => call(options, () => etcd.timeToLive(nowMs(), lease)),
    revokeLease: (lease, options) => call(options, () => void etcd.revokeLease(nowMs(), lease)),
    transact: (transaction, options) => call(options, () => etcd.transact(nowMs(), transaction)),
    readAll: (prefix, options) => call(options, () => etcd.readAll(nowMs(), prefix)),
    follow: (prefix, options) => follow(prefix, options),
    close: async () => closed.abort(),
  };

  function follow(prefix: string, options: FollowOptions): void {
    const ended = AbortSignal.any([options.signal, closed.signal]);
    if (ended.aborted) return;
    let scheduled = false;
    const notify = (): void => {
      if (scheduled) return; // one delivery serves all changes until it runs
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        if (!ended.aborted) options.onSnapshot(etcd.readAll(nowMs(), prefix));
      });
    };
    const timer = setInterval(notify, options.refreshMs);
    timer.unref();
    followers.add(notify);
    ended.addEventListener('abort', () => {
      clearInterval(timer);
      followers.delete(notify);
    });
    notify();
  }
}
