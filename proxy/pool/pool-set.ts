import type { Clock } from '../../common/clock.ts';
import type { ConnectionLimits, PoolLimits } from '../../common/config/pool-limits.ts';
import type { Logger } from '../../common/logger.ts';
import type { Term } from '../../common/lsn.ts';
import type { NodeFreshness } from '../../replication-monitor/types.ts';
import type { BackendTarget, Credentials } from '../auth/types.ts';
import { newNodeLoad, type NodeLoad, noteServing } from '../routing/node-load.ts';
import { Defaults } from './defaults.ts';
import { runInternal } from './internal-query.ts';
import type { BackendPlace } from './place.ts';
import { Pauses } from './pauses.ts';
import { Pool } from './pool.ts';
import type { Login, PoolHost } from './pool-host.ts';
import { Proofs } from './proofs.ts';
import { Room } from './room.ts';

/** What the configuration says; a reload replaces it. */
export interface PoolSettings {
  readonly tls: BackendTarget['tls'];
  readonly connections: ConnectionLimits;
  /** Whether `minSize` is set for anybody. */
  readonly keepsAny: boolean;
  limitsOf(database: string, user: string): PoolLimits;
  placingOf(node: string): Pick<NodeLoad, 'weight' | 'foreign'>;
}

export interface PoolSetOptions {
  readonly settings: PoolSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly login: Login;
  /** Uniform in [0, 1); Math.random by default. */
  readonly random?: () => number;
}

const CHECK_TIMEOUT_MS = 5_000;
const SWEEP_MS = 1_000;
/** How often those who wait are looked after, while there are any. */
const TICK_MS = 50;
/** A pool without connections that nobody used for so long is forgotten. */
const FORGET_AFTER_MS = 60_000;
/** After a reload of what connections are made with, they are replaced within this time. */
const RENEW_SPREAD_MS = 10_000;
/** A node that cannot be reached for so long is not waited for; one that is merely overloaded answers in between. Of a leader it is the lease that tells first. */
const DEAD_AFTER_MS = { follower: 5_000, leader: 10_000 } as const;
/** A leader lets clients in some moments after it is announced: so long its connections are tried for again. */
const WARM_UP_MS = 5_000;

/** All pools of a proxy. Leader pools belong to a term; those of an older one are closed by `endTermsBefore`. */
export class PoolSet implements PoolHost {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly login: Login;
  readonly room: Room;
  readonly random: () => number;
  readonly pauses = new Pauses();
  #settings: PoolSettings;
  readonly #pools = new Map<string, Pool>();
  readonly #proofs = new Proofs();
  readonly #defaults = new Defaults(() => this.#pools.values());
  readonly #loads = new Map<string, NodeLoad>();
  /** Nodes of which the monitor has no answer at all, and since when. */
  readonly #unreachable = new Map<string, number>();
  readonly #sweeper: NodeJS.Timeout;
  #ticker: NodeJS.Timeout | null = null;
  /** Where connections may be wanted: the leader that is known, and the followers. */
  #places: readonly BackendPlace[] = [];
  #warmUntilMs = -Infinity;
  #closed = false;

  constructor(options: PoolSetOptions) {
    this.clock = options.clock;
    this.logger = options.logger;
    this.login = options.login;
    this.random = options.random ?? Math.random;
    this.#settings = options.settings;
    this.room = new Room(options.settings.connections, () => this.#pools.values());
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.#sweeper.unref();
  }

  get tls(): BackendTarget['tls'] {
    return this.#settings.tls;
  }

  /** The pool for these; made when there is none. It may be kept as long as it is not `closed`. */
  poolOf(place: BackendPlace, user: string, database: string, credentials: Credentials): Pool {
    const key = `${place.node}\0${place.host}\0${place.port}\0${place.term ?? place.role}\0${user}\0${database}`;
    let pool = this.#pools.get(key);
    if (pool === undefined || pool.closed) {
      const newest = this.proofOf(user, credentials);
      const limits = this.#settings.limitsOf(database, user);
      pool = new Pool({ place, user, database, credentials: newest, limits }, this);
      this.#pools.set(key, pool);
      if (this.pauses.holds(database)) pool.pause();
      if (this.#closed) pool.close('the proxy is shutting down');
    }
    return pool;
  }

  /** A user has just proven who it is: every pool of it opens its next connections with this. */
  noteLogin(user: string, database: string, credentials: Credentials): void {
    const newest = this.#proofs.note(user, database, credentials);
    for (const pool of this.#pools.values()) if (pool.options.user === user) pool.renew(newest);
  }

  /** What ALTER ROLE and ALTER DATABASE have SET for a user, as a login has read it. Returns when that changed: see `Defaults`. */
  noteDefaults(user: string, database: string, fingerprint: string): number {
    return this.#defaults.note(user, database, fingerprint, this.clock.nowMs());
  }

  /** What logs this user in to servers: the newest proof that is held, else its own. */
  proofOf(user: string, own: Credentials): Credentials {
    return this.#proofs.of(user) ?? own;
  }

  all(): IterableIterator<Pool> {
    return this.#pools.values();
  }

  readonly loadOf = (node: string): NodeLoad => {
    let load = this.#loads.get(node);
    if (load === undefined) {
      load = Object.assign(newNodeLoad(), this.#settings.placingOf(node));
      this.#loads.set(node, load);
    }
    return load;
  };

  /** Work of this proxy on a node, over all users. */
  busyOf(node: string): number {
    const { busy, waiting } = this.loadOf(node);
    return busy + waiting;
  }

  /** What the monitor sees: a follower that comes back gets its share little by little; who cannot be reached is not waited for. */
  noteNodes(nodes: readonly Pick<NodeFreshness, 'node' | 'usable' | 'unreachableSinceMs' | 'freshAsOfMs'>[]): void {
    const nowMs = this.clock.nowMs();
    this.#defaults.noteFreshness(nodes, nowMs);
    for (const { node, usable, unreachableSinceMs } of nodes) {
      noteServing(this.loadOf(node), usable, nowMs);
      if (unreachableSinceMs === null) this.#unreachable.delete(node);
      else this.#unreachable.set(node, unreachableSinceMs);
    }
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

  /** The leader and the followers that there are now: what is kept open in advance is opened to them. */
  setPlaces(places: readonly BackendPlace[]): void {
    this.#places = places;
    this.#warmUntilMs = this.clock.nowMs() + WARM_UP_MS;
    this.#warm();
    this.onWaiting();
  }

  /** A reload. Connections that were made otherwise than now wanted are replaced as they come free, spread over time. */
  reconfigure(settings: PoolSettings): void {
    const remake = !sameTls(settings.tls, this.#settings.tls);
    this.#settings = remake ? settings : { ...settings, tls: this.#settings.tls };
    this.room.capacity.limits = settings.connections;
    for (const [node, load] of this.#loads) Object.assign(load, settings.placingOf(node));
    const nowMs = this.clock.nowMs();
    for (const pool of this.#pools.values()) {
      const { database, user } = pool.options;
      pool.reconfigure(settings.limitsOf(database, user));
      if (remake) pool.renewConnections(nowMs, RENEW_SPREAD_MS);
    }
    this.room.serve();
  }

  /**
   * PAUSE: no client gets a connection to the database (null: to any) any more, within the bounds of waiting; those that have one keep
   * it until their transaction ends (pinned sessions, until they are unpinned). Resolves when no connection is left.
   * Rejects with the signal's reason; it stays paused then, until `resume`.
   */
  pause(database: string | null, signal: AbortSignal): Promise<void> {
    this.pauses.hold(database);
    for (const pool of this.#of(database)) pool.pause();
    return this.pauses.untilEmpty(() => [...this.#of(database)].every((pool) => pool.size === 0), signal);
  }

  /** RESUME, after PAUSE or KILL. */
  resume(database: string | null): void {
    this.pauses.release(database);
    for (const pool of this.#of(database)) if (!this.pauses.holds(pool.options.database)) pool.resume();
    this.#warm();
  }

  /** KILL: as PAUSE, but connections in use are lost at once, and those who wait for one are refused. The sessions are the caller's to end. */
  kill(database: string): void {
    this.pauses.hold(database);
    for (const pool of this.#of(database)) pool.kill(`database "${database}" was killed by an operator`);
  }

  /** RECONNECT: every connection that there is now is closed as soon as it is free. New ones are opened meanwhile. */
  reconnect(database: string | null): void {
    for (const pool of this.#of(database)) pool.renewConnections(this.clock.nowMs(), 0);
  }

  onWaiting(): void {
    if (this.#ticker !== null || this.#closed) return;
    this.#ticker = setInterval(() => this.tick(), TICK_MS);
    this.#ticker.unref();
  }

  onGone(): void {
    this.pauses.look();
  }

  /** Looks after those who wait: deadlines, the reserve, fairness. By a timer, while there are any. */
  tick(): void {
    const nowMs = this.clock.nowMs();
    let waiting = false;
    for (const pool of this.#pools.values()) {
      if (pool.queue.size === 0) continue;
      waiting = true;
      pool.tick(nowMs);
    }
    const warming = nowMs < this.#warmUntilMs && this.#warm();
    if (waiting || warming || this.#ticker === null) return;
    clearInterval(this.#ticker);
    this.#ticker = null;
  }

  /** Ages connections, checks silent ones, opens what is kept in advance. By a timer. */
  sweep(): void {
    const nowMs = this.clock.nowMs();
    for (const [key, pool] of this.#pools) {
      pool.sweep(nowMs);
      const { node, role } = pool.options.place;
      const forMs = nowMs - (this.#unreachable.get(node) ?? Infinity);
      if (forMs >= DEAD_AFTER_MS[role]) {
        // Before TCP finds out, in a quarter of an hour.
        const reason = `${node} could not be reached for ${Math.round(forMs)} ms`;
        for (const backend of pool.stock.unheard()) backend.lose(reason);
      }
      if (pool.size + pool.queue.size === 0 && nowMs - pool.lastUsedMs > FORGET_AFTER_MS) {
        this.#pools.delete(key);
        pool.close('nobody uses it'); // so that who has kept it asks for another one
      }
      for (const backend of pool.stock.popSilent(nowMs - pool.limits.checkAfterMs)) {
        const sinceMs = backend.idleSinceMs;
        void runInternal(backend, 'SELECT 1', CHECK_TIMEOUT_MS).then(
          () => {
            backend.checkedAtMs = nowMs;
            pool.give(backend, sinceMs); // the check is not a use
          },
          () => backend.destroy(),
        );
      }
    }
    this.#warm();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    if (this.#ticker !== null) clearInterval(this.#ticker);
    for (const pool of this.#pools.values()) pool.close('the proxy is shutting down');
    this.#pools.clear();
  }

  *#of(database: string | null): Generator<Pool> {
    for (const pool of this.#pools.values()) if (database === null || pool.options.database === database) yield pool;
  }

  /** Opens what is to be kept in advance, for users whose proof is known. True: something is still missing. */
  #warm(): boolean {
    let missing = false;
    if (this.#closed || !this.#settings.keepsAny) return false;
    for (const { user, database, credentials } of this.#proofs.pairs()) {
      const { minSize } = this.#settings.limitsOf(database, user);
      if (minSize === 0) continue;
      for (const place of this.#places) {
        const there = place.role === 'leader' || this.loadOf(place.node).serving;
        if (!there || this.#unreachable.has(place.node)) continue;
        const pool = this.poolOf(place, user, database, credentials);
        pool.fill();
        if (pool.stock.all.size < minSize) missing = true;
      }
    }
    return missing;
  }
}

function sameTls(a: BackendTarget['tls'], b: BackendTarget['tls']): boolean {
  return a.mode === b.mode && a.channelBinding === b.channelBinding && a.fingerprint === b.fingerprint;
}
