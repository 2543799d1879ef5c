/**
 * The lease store: the few operations of etcd that the election rests on. The etcd3 adapter and the in-memory
 * adapter of the simulation implement it; nothing else in the project speaks to etcd.
 *
 * Every call takes a deadline. A call that fails throws `StoreError`: `outcome: 'not-applied'` where the request
 * provably had no effect (compared keys aside), `'unknown'` where it may have had one. The caller resolves an
 * unknown outcome by a later transaction that contains a write, never by assumption (ELECTION.md, "Keys").
 */
export interface LeaseStore {
  /** A new lease. The answer's deadline counts from the moment the request was *sent*, which is the caller's to note. */
  grantLease(ttlMs: number, options: CallOptions): Promise<LeaseGrant>;
  /** One unary keep-alive. `ttlMs` is 0 when the lease is gone. Tried on another endpoint after each failure. */
  keepAlive(lease: LeaseId, options: CallOptions): Promise<{ readonly ttlMs: number }>;
  /** Time that etcd says remains on a lease; 0 when it is gone. `grantedTtlMs` is what it was granted with. */
  timeToLive(lease: LeaseId, options: CallOptions): Promise<{ readonly ttlMs: number; readonly grantedTtlMs: number }>;
  revokeLease(lease: LeaseId, options: CallOptions): Promise<void>;
  /** Atomic: if all comparisons hold, every operation of `then` is carried out, else every one of `otherwise`. */
  transact(transaction: Transaction, options: CallOptions): Promise<TransactionResult>;
  /** All keys below the prefix at one revision. */
  readAll(prefix: string, options: CallOptions): Promise<StoreSnapshot>;
  /**
   * Calls `onSnapshot` with the full content below the prefix: first as soon as it can be read, then after every
   * change (changes may be merged), and at least every `refreshMs` while the store answers. Never falls silent:
   * reconnects, and after a compaction reads anew. `onUnreachable` is called once for each failed attempt.
   * Ends when `signal` aborts.
   */
  follow(prefix: string, options: FollowOptions): void;
  close(): Promise<void>;
}

declare const leaseBrand: unique symbol;
/** etcd's 64-bit lease id as decimal text. */
export type LeaseId = string & { readonly [leaseBrand]: true };

export interface CallOptions {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface LeaseGrant {
  readonly lease: LeaseId;
  readonly ttlMs: number;
}

export interface StoreKey {
  readonly key: string;
  readonly value: string;
  /** etcd revisions fit in a double until 2^53 writes. */
  readonly createRevision: number;
  readonly modRevision: number;
  readonly lease: LeaseId | null;
}

export interface StoreSnapshot {
  readonly revision: number;
  readonly keys: ReadonlyMap<string, StoreKey>;
}

export type Comparison =
  /** 0 means that the key does not exist. */
  | { readonly type: 'create-revision'; readonly key: string; readonly equals: number }
  | { readonly type: 'mod-revision'; readonly key: string; readonly equals: number };

export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly lease?: LeaseId }
  | { readonly type: 'delete'; readonly key: string }
  | { readonly type: 'get'; readonly key: string };

export interface Transaction {
  readonly compare: readonly Comparison[];
  readonly then: readonly Operation[];
  readonly otherwise?: readonly Operation[];
}

export interface TransactionResult {
  readonly succeeded: boolean;
  readonly revision: number;
  /** The answers of the `get` operations of the branch that ran, in order; null where the key does not exist. */
  readonly gets: readonly (StoreKey | null)[];
}

export interface FollowOptions {
  readonly refreshMs: number;
  readonly signal: AbortSignal;
  readonly onSnapshot: (snapshot: StoreSnapshot) => void;
  readonly onUnreachable: (error: Error) => void;
}
