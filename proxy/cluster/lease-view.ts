import type { Clock } from '../../common/clock.ts';
import { LeaseholdError } from '../../common/errors.ts';
import type { Term } from '../../common/lsn.ts';
import type { Logger } from '../../common/logger.ts';
import { Wakeup } from '../../common/wakeup.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore, StoreSnapshot } from '../../election/store/port.ts';
import { type ClusterContent, ClusterReader, type LeaderKey } from './cluster-reader.ts';
import { type Confirmation, confirm, explainNoLeader, leadsUntil, openTarget } from './lease-confirmation.ts';
import type { ClusterView, LeaderTarget, LeaseView } from './types.ts';

export interface LeaseViewOptions {
  readonly store: LeaseStore;
  readonly cluster: string;
  readonly proxyId: string;
  /** Read for each unit of leader work: must be cheap. */
  readonly clock: Clock;
  readonly marginMs: number;
  readonly ttlMs: number;
  readonly logger: Logger;
  /** How often the lease is confirmed; 500 by default. */
  readonly confirmEveryMs?: number;
}

/** Follows the cluster's keys and confirms the leader's lease until closed. The caller closes it before the store. */
export function createLeaseView(options: LeaseViewOptions): LeaseView {
  return new EtcdLeaseView(options);
}

class EtcdLeaseView implements LeaseView {
  readonly #options: LeaseViewOptions;
  readonly #reader: ClusterReader;
  readonly #leaderKey: string;
  /** Never exists: deleting it makes a transaction a write, which no stale member can answer, and changes nothing. */
  readonly #probeKey: string;
  readonly #stop = new AbortController();
  readonly #confirmNow = new Wakeup();
  readonly #listeners = new Set<() => void>();
  readonly #confirming: Promise<void>;
  readonly #startedAtMs: number;
  #content: ClusterContent = NOTHING;
  #view: ClusterView;
  #confirmation: Confirmation | null = null;
  #target: LeaderTarget | null = null;
  #leadsUntilMs = Number.NEGATIVE_INFINITY;
  #unreachableSinceMs: number | null = null;
  #leaderLostAtMs: number | null = null;
  #heldSinceMs: number | null = null;
  #expiry: NodeJS.Timeout | undefined;

  constructor(options: LeaseViewOptions) {
    const keys = keysOf(options.cluster);
    this.#options = options;
    this.#reader = new ClusterReader(keys);
    this.#leaderKey = keys.leader;
    this.#probeKey = `${keys.prefix}probe/${options.proxyId}`;
    this.#startedAtMs = options.clock.nowMs();
    this.#view = {
      route: null,
      members: new Map(),
      proxies: new Map(),
      history: new Map(),
      pause: null,
      settings: null,
      confirmedAtMs: Number.NEGATIVE_INFINITY,
    };
    options.store.follow(keys.prefix, {
      refreshMs: 1000,
      signal: this.#stop.signal,
      onSnapshot: (snapshot) => this.#onSnapshot(snapshot),
      onUnreachable: (error) => this.#onUnreachable(error),
    });
    this.#confirming = this.#confirmForEver();
  }

  get view(): ClusterView {
    return this.#view;
  }

  leader(): LeaderTarget | null {
    if (this.#target === null || this.#options.clock.nowMs() >= this.#leadsUntilMs) return null;
    return this.#target;
  }

  stillLeads(term: Term): boolean {
    return this.#content.route?.term === term && this.#options.clock.nowMs() < this.#leadsUntilMs;
  }

  explain(): string {
    const facts = {
      route: this.#content.route,
      leader: this.#content.leader,
      confirmation: this.#confirmation,
      pause: this.#content.pause,
      startedAtMs: this.#startedAtMs,
      everReached: this.#view.confirmedAtMs !== Number.NEGATIVE_INFINITY,
      unreachableSinceMs: this.#unreachableSinceMs,
      leaderLostAtMs: this.#leaderLostAtMs,
      heldSinceMs: this.#heldSinceMs,
    };
    return explainNoLeader(facts, this.#options.clock.nowMs());
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#expiry);
    await this.#confirming;
  }

  #onSnapshot(snapshot: StoreSnapshot): void {
    if (this.#stop.signal.aborted) return;
    const nowMs = this.#options.clock.nowMs();
    this.#reached(nowMs);
    if (snapshot.revision === this.#content.revision) {
      this.#view = { ...this.#view, confirmedAtMs: nowMs };
      return;
    }
    const before = this.#content;
    const content = this.#reader.read(snapshot);
    this.#content = content;
    const { route, members, proxies, history, pause, settings } = content;
    this.#view = { route, members, proxies, history, pause, settings, confirmedAtMs: nowMs };
    for (const key of content.damaged) {
      this.#options.logger.error({ event: 'store.damaged-key', key }, `the value of ${key} in etcd cannot be read`);
    }
    if (content.leader !== null) this.#leaderLostAtMs = null;
    else this.#leaderLostAtMs ??= nowMs;
    if (content.route?.hold !== true) this.#heldSinceMs = null;
    else this.#heldSinceMs ??= nowMs;
    if (content.leader?.createRevision !== before.leader?.createRevision) this.#confirmNow.wake();
    this.#derive();
    this.#notify();
  }

  #onUnreachable(error: Error): void {
    if (this.#unreachableSinceMs !== null || this.#stop.signal.aborted) return;
    this.#unreachableSinceMs = this.#options.clock.nowMs();
    this.#options.logger.warn({ event: 'store.unreachable', err: error }, `etcd cannot be reached: ${error.message}`);
  }

  #reached(nowMs: number): void {
    if (this.#unreachableSinceMs === null) return;
    const outageMs = Math.round(nowMs - this.#unreachableSinceMs);
    this.#unreachableSinceMs = null;
    this.#options.logger.info({ event: 'store.reached', outageMs }, 'etcd answers again');
    this.#confirmNow.wake();
  }

  async #confirmForEver(): Promise<void> {
    const { signal } = this.#stop;
    const everyMs = this.#options.confirmEveryMs ?? 500;
    while (!signal.aborted) {
      const leader = this.#content.leader;
      const failed = leader !== null && !(await this.#confirmOnce(leader));
      await this.#confirmNow.wait(failed ? Math.min(everyMs, 200) : everyMs, signal);
    }
  }

  /** False where etcd did not answer. */
  async #confirmOnce(leader: LeaderKey): Promise<boolean> {
    const { store, clock, marginMs, ttlMs } = this.#options;
    const call = { deadlineMs: Math.min(1000, ttlMs / 5), signal: this.#stop.signal };
    try {
      const sentAtMs = clock.nowMs();
      const { ttlMs: remainingMs } = await store.timeToLive(leader.lease, call);
      // A paused and resumed etcd leader may answer the above from its own memory, in which a lease that was revoked
      // meanwhile lives on. The transaction goes through etcd's log: the key, and so its lease, was there after it.
      const { succeeded } = await store.transact(
        {
          compare: [{ type: 'create-revision', key: this.#leaderKey, equals: leader.createRevision }],
          then: [{ type: 'delete', key: this.#probeKey }],
        },
        call,
      );
      if (this.#stop.signal.aborted) return true;
      const nowMs = clock.nowMs();
      this.#view = { ...this.#view, confirmedAtMs: nowMs };
      const alive = succeeded && remainingMs > 0;
      this.#confirmation = alive ? confirm(leader.createRevision, { sentAtMs, remainingMs, marginMs }) : null;
      const led = this.leader();
      this.#derive();
      if (led !== this.leader()) this.#notify();
      return true;
    } catch (error) {
      if (!(error instanceof LeaseholdError)) throw error;
      if (!this.#stop.signal.aborted) {
        this.#options.logger.debug({ event: 'lease.unconfirmed', err: error }, 'the lease could not be confirmed');
      }
      return false;
    }
  }

  /** Brings what `leader()` answers up to date, and arranges that listeners hear when it runs out. */
  #derive(): void {
    const facts = { route: this.#content.route, leader: this.#content.leader, confirmation: this.#confirmation };
    const next = openTarget(facts.route);
    if (next?.seq !== this.#target?.seq || next?.term !== this.#target?.term) this.#target = next;
    this.#leadsUntilMs = leadsUntil(facts);
    clearTimeout(this.#expiry);
    const leftMs = this.#leadsUntilMs - this.#options.clock.nowMs();
    if (leftMs > 0) this.#expiry = setTimeout(() => this.#onExpiry(), leftMs + 1);
  }

  #onExpiry(): void {
    if (this.#stop.signal.aborted || this.#options.clock.nowMs() < this.#leadsUntilMs) return;
    const term = this.#content.route?.term.toString();
    this.#options.logger.warn({ event: 'lease.expired', term }, `writes are held: ${this.explain()}`);
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

const NOTHING: ClusterContent = {
  revision: -1,
  route: null,
  leader: null,
  members: new Map(),
  proxies: new Map(),
  history: new Map(),
  pause: null,
  settings: null,
  damaged: [],
};
