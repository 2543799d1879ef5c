import type { ConnectionLimits } from '../../common/config/pool-limits.ts';
import type { Stock } from './stock.ts';
import type { WaitQueue } from './wait-queue.ts';
import { Capacity, type LimitKind, type Seat, settingOf, shares } from './capacity.ts';

/** A pool, as the room that all of them share sees it. */
export interface Tenant {
  readonly seat: Seat;
  readonly queue: Pick<WaitQueue, 'sinceMs'>;
  readonly stock: Pick<Stock, 'busy' | 'oldest'>;
  /** How many connections it would open if there were room. */
  readonly wants: number;
  /** It has more connections than it keeps in advance. */
  readonly spare: boolean;
  /** Places that it occupies. */
  readonly size: number;
  /** Opens what it wants, as far as there is room. */
  grow(): void;
}

/** A client that has waited for so long gets a connection of a pool whose own clients came later. */
export const FAIR_AFTER_MS = 100;

/**
 * The places for server connections that all pools of a proxy share. A pool that finds none is *blocked*: an idle connection
 * of another pool is closed for it (the one idle longest, before those that a pool keeps in advance), and of blocked
 * pools the one whose client came first is served first. Where nothing is idle, a pool whose own first client came
 * later gives a connection up, so that no pool starves another.
 */
export class Room {
  readonly capacity: Capacity;
  /** Connections that are on their way out: each will make room. */
  #leaving = 0;
  readonly #tenants: () => Iterable<Tenant>;
  readonly #blocked = new Set<Tenant>();

  constructor(limits: ConnectionLimits, tenants: () => Iterable<Tenant>) {
    this.capacity = new Capacity(limits);
    this.#tenants = tenants;
  }

  /** Whether pools wait for room: looked at whenever a connection comes free. */
  get contended(): boolean {
    return this.#blocked.size > 0;
  }

  /** A place for a connection. False: there is none now, and `grow` is called when there may be. */
  claim(tenant: Tenant): boolean {
    if (this.capacity.take(tenant.seat)) {
      return true;
    }
    if (tenant.wants > 0) {
      this.#blocked.add(tenant);
      this.#makeRoom(tenant);
    }
    return false;
  }

  /** It wants nothing any more: its clients were served, gave up, or it is closed. */
  unblock(tenant: Tenant): void {
    this.#blocked.delete(tenant);
  }

  leaving(): void {
    this.#leaving += 1;
  }

  /** A place is free: the connection is gone (`left`: it was announced by `leaving`), or could not be opened. */
  release(seat: Seat, left: boolean): void {
    if (left) this.#leaving -= 1;
    this.capacity.release(seat);
    this.serve();
  }

  /** Blocked pools look again, whose client came first before the others. */
  serve(): void {
    if (this.#blocked.size === 0) return;
    for (const tenant of this.#byArrival()) {
      this.#blocked.delete(tenant);
      tenant.grow(); // blocks again where there is no room
    }
  }

  /** A connection of `tenant` came free and none of its clients waits: it may be what a blocked pool needs. */
  onIdle(): void {
    for (const tenant of this.#byArrival()) this.#makeRoom(tenant);
  }

  /** Whether `tenant` should give up a connection that came free, though its own clients wait: an older one of another pool does. */
  yields(tenant: Tenant, nowMs: number): boolean {
    if (this.#leaving > 0) return false;
    for (const other of this.#blocked) {
      if (other === tenant || other.wants === 0 || other.queue.sinceMs >= tenant.queue.sinceMs) continue;
      if (nowMs - other.queue.sinceMs < FAIR_AFTER_MS) continue;
      const full = this.capacity.full(other.seat);
      if (full.every((kind) => shares(kind, other.seat, tenant.seat))) return true;
    }
    return false;
  }

  /** The first limit that leaves no room for a pool, with its setting and who holds its connections; null: there is room. */
  explain(seat: Seat): { readonly setting: string; readonly limit: number; readonly holders: string } | null {
    const kind = this.capacity.full(seat)[0];
    if (kind === undefined) return null;
    return {
      setting: settingOf(kind, seat),
      limit: this.capacity.limit(kind, seat),
      holders: this.#holders(kind, seat),
    };
  }

  #holders(kind: LimitKind, seat: Seat): string {
    const counts = new Map<string, { all: number; busy: number }>();
    for (const tenant of this.#tenants()) {
      if (tenant.size === 0 || !shares(kind, seat, tenant.seat)) continue;
      const { user, database, node } = tenant.seat;
      const name = `"${user}" in "${database}" on ${node}`;
      const count = counts.get(name) ?? { all: 0, busy: 0 };
      counts.set(name, { all: count.all + tenant.size, busy: count.busy + tenant.stock.busy });
    }
    const largest = [...counts].sort(([, a], [, b]) => b.all - a.all);
    const shown = largest.slice(0, 3).map(([name, { all, busy }]) => `${name} ${all} (${busy} in use)`);
    if (largest.length > shown.length) shown.push(`${largest.length - shown.length} others the rest`);
    return shown.join(', ');
  }

  #byArrival(): Tenant[] {
    return [...this.#blocked].sort((a, b) => a.queue.sinceMs - b.queue.sinceMs);
  }

  /** Closes idle connections of others, as many as pools want and are not on their way out already. */
  #makeRoom(tenant: Tenant): void {
    const full = this.capacity.full(tenant.seat);
    let wanted = -this.#leaving;
    for (const other of this.#blocked) wanted += other.wants;
    if (full.length === 0 || wanted <= 0) return;
    const all = this.#longestIdle(tenant, (seat) => full.every((kind) => shares(kind, seat, tenant.seat)));
    if (all !== null) {
      all.stock.oldest?.destroy();
      return;
    }
    // None counts under all the limits that are full: one for each of them, if there is one for each.
    const victims = full.map((kind) => this.#longestIdle(tenant, (seat) => shares(kind, seat, tenant.seat)));
    if (victims.every((victim) => victim !== null))
      for (const victim of new Set(victims)) victim.stock.oldest?.destroy();
  }

  #longestIdle(tenant: Tenant, fits: (seat: Seat) => boolean): Tenant | null {
    let found: Tenant | null = null;
    for (const other of this.#tenants()) {
      if (other === tenant || other.stock.oldest === undefined || !fits(other.seat)) continue;
      if (found === null || isBetter(other, found)) found = other;
    }
    return found;
  }
}

function isBetter(a: Tenant, b: Tenant): boolean {
  return a.spare === b.spare ? idleSince(a) < idleSince(b) : a.spare;
}

function idleSince(tenant: Tenant): number {
  return tenant.stock.oldest?.idleSinceMs ?? Infinity;
}
