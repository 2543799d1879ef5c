import type { ConnectionLimits } from '../../common/config/pool-limits.ts';

/** What a server connection is counted under. */
export interface Seat {
  readonly node: string;
  readonly database: string;
  readonly user: string;
}

export type LimitKind = 'total' | 'node' | 'database' | 'user';

/**
 * Counts server connections against the limits over several pools. A place is taken before a connection is opened and
 * given back when the server has let go of it, so that no limit is exceeded at any moment.
 */
export class Capacity {
  #limits: ConnectionLimits;
  #total = 0;
  readonly #byNode = new Map<string, number>();
  readonly #byDatabase = new Map<string, number>();
  readonly #byUser = new Map<string, number>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  set limits(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  get total(): number {
    return this.#total;
  }

  /** Which limits leave no room for one more. */
  full(seat: Seat): LimitKind[] {
    const kinds: LimitKind[] = [];
    for (const kind of KINDS) if (this.count(kind, seat) >= this.limit(kind, seat)) kinds.push(kind);
    return kinds;
  }

  /** False, and nothing is changed, where a limit leaves no room. */
  take(seat: Seat): boolean {
    for (const kind of KINDS) if (this.count(kind, seat) >= this.limit(kind, seat)) return false;
    this.#add(seat, 1);
    return true;
  }

  release(seat: Seat): void {
    this.#add(seat, -1);
  }

  count(kind: LimitKind, seat: Seat): number {
    switch (kind) {
      case 'total':
        return this.#total;
      case 'node':
        return this.#byNode.get(seat.node) ?? 0;
      case 'database':
        return this.#byDatabase.get(seat.database) ?? 0;
      case 'user':
        return this.#byUser.get(seat.user) ?? 0;
    }
  }

  limit(kind: LimitKind, seat: Seat): number {
    switch (kind) {
      case 'total':
        return this.#limits.total;
      case 'node':
        return this.#limits.perNode;
      case 'database':
        return this.#limits.ofDatabase(seat.database);
      case 'user':
        return this.#limits.ofUser(seat.user);
    }
  }

  #add(seat: Seat, n: 1 | -1): void {
    this.#total += n;
    change(this.#byNode, seat.node, n);
    change(this.#byDatabase, seat.database, n);
    change(this.#byUser, seat.user, n);
  }
}

const KINDS: readonly LimitKind[] = ['total', 'node', 'database', 'user'];

/** Whether two connections count under the same limit of a kind. */
export function shares(kind: LimitKind, a: Seat, b: Seat): boolean {
  switch (kind) {
    case 'total':
      return true;
    case 'node':
      return a.node === b.node;
    case 'database':
      return a.database === b.database;
    case 'user':
      return a.user === b.user;
  }
}

/** The setting behind a limit, for messages to people. */
export function settingOf(kind: LimitKind, seat: Seat): string {
  switch (kind) {
    case 'total':
      return 'proxy.pool.maxConnections';
    case 'node':
      return 'proxy.pool.maxConnectionsPerNode';
    case 'database':
      return `proxy.databases.${seat.database}.maxConnections`;
    case 'user':
      return `proxy.users.${seat.user}.maxConnections`;
  }
}

function change(counts: Map<string, number>, name: string, n: number): void {
  const count = (counts.get(name) ?? 0) + n;
  if (count === 0) counts.delete(name);
  else counts.set(name, count);
}
