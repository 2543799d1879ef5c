/**
 * Which prepared statements a backend has, those used longest ago first: the proxy's own by server name (see
 * `session/prepared.ts`), and those that it has under a client's name for EXECUTE (see `session/align.ts`).
 */
export class BackendStatements {
  /** By name, what it is. At most as many as the bound; another client may give the same name to something else. */
  readonly clientNames = new Map<string, string>();
  /** Nobody knows what it has: all are taken away before the next use. */
  unknown = false;
  /** A Set keeps insertion order; a use deletes and inserts anew. */
  readonly #names = new Set<string>();

  has(serverName: string): boolean {
    return this.#names.has(serverName);
  }

  names(): Iterable<string> {
    return this.#names;
  }

  get size(): number {
    return this.#names.size;
  }

  touch(serverName: string): void {
    this.#names.delete(serverName);
    this.#names.add(serverName);
  }

  touchName(clientName: string): void {
    const identity = this.clientNames.get(clientName);
    if (identity === undefined) return;
    this.clientNames.delete(clientName);
    this.clientNames.set(clientName, identity);
  }

  /** The client's name to give up before another is added; null: there is room. */
  nameToEvict(max: number, added: string): string | null {
    if (this.clientNames.size < max || this.clientNames.has(added)) return null;
    for (const oldest of this.clientNames.keys()) return oldest;
    return null;
  }

  /** The name to give up before another is added; null: there is room. */
  toEvict(max: number): string | null {
    if (this.#names.size < max) return null;
    for (const oldest of this.#names) return oldest;
    return null;
  }

  /** Notes a statement that is being prepared. Returns the name to close for it, if the backend then has more than `max`. */
  add(serverName: string, max: number): string | null {
    this.touch(serverName);
    if (this.#names.size <= max) return null;
    for (const oldest of this.#names) {
      if (oldest === serverName) continue;
      this.#names.delete(oldest);
      return oldest;
    }
    return null;
  }

  delete(serverName: string): void {
    this.#names.delete(serverName);
  }

  /** All are gone. */
  clear(): void {
    this.#names.clear();
    this.clientNames.clear();
    this.unknown = false;
  }
}
