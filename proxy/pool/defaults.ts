import type { Pool } from './pool.ts';

interface Known {
  readonly user: string;
  readonly database: string;
  readonly fingerprint: string;
  /** When it was seen to be another one than before; -Infinity: never. */
  readonly changedAtMs: number;
  /** Nodes that show it, and whose connections from before that are on their way out. */
  readonly shownBy: Set<string>;
}

const MAX_KNOWN = 10_000;

/**
 * ALTER ROLE … SET and ALTER DATABASE … SET count for connections that begin after them. Who connects to the proxy is to see them as with
 * PostgreSQL itself: connections to servers from before are replaced, on a follower once more when it has replayed the change.
 */
export class Defaults {
  readonly #pools: () => Iterable<Pool>;
  readonly #known = new Map<string, Known>();
  /** Those that some node does not show yet. */
  readonly #recent = new Set<Known>();

  constructor(pools: () => Iterable<Pool>) {
    this.#pools = pools;
  }

  /** What a login has read. Returns the moment of the last change: a follower must be fresh as of it. */
  note(user: string, database: string, fingerprint: string, nowMs: number): number {
    const key = `${user}\0${database}`;
    const before = this.#known.get(key);
    if (before?.fingerprint === fingerprint) return before.changedAtMs;
    const changed = before !== undefined || this.#of(user, database).some(({ size }) => size > 0);
    const known = { user, database, fingerprint, changedAtMs: changed ? nowMs : -Infinity, shownBy: new Set<string>() };
    this.#known.delete(key);
    this.#known.set(key, known);
    if (before !== undefined) this.#recent.delete(before);
    for (const [oldest, each] of this.#known) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(oldest);
      this.#recent.delete(each);
    }
    if (changed) {
      this.#recent.add(known);
      for (const pool of this.#of(user, database)) pool.renewConnections(nowMs, 0);
    }
    return known.changedAtMs;
  }

  /** What the monitor sees of all nodes. */
  noteFreshness(nodes: readonly { readonly node: string; readonly freshAsOfMs: number }[], nowMs: number): void {
    for (const known of this.#recent) {
      let all = true;
      for (const { node, freshAsOfMs } of nodes) {
        if (freshAsOfMs < known.changedAtMs) all = false;
        else if (!known.shownBy.has(node)) this.#renewOn(node, known, nowMs);
      }
      if (all) this.#recent.delete(known);
    }
  }

  #renewOn(node: string, { user, database, shownBy }: Known, nowMs: number): void {
    shownBy.add(node);
    for (const pool of this.#of(user, database)) {
      const { place } = pool.options;
      if (place.node === node && place.role === 'follower') pool.renewConnections(nowMs, 0);
    }
  }

  #of(user: string, database: string): Pool[] {
    return [...this.#pools()].filter(({ options }) => options.user === user && options.database === database);
  }
}
