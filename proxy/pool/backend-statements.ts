/**
 * Which of the proxy's prepared statements a backend has, by server name (see `session/prepared.ts`), the one used
 * longest ago first.
 */
export class BackendStatements {
  /** A Map keeps insertion order; a use deletes and inserts anew. */
  readonly #names = new Set<string>();

  has(serverName: string): boolean {
    return this.#names.has(serverName);
  }

  get size(): number {
    return this.#names.size;
  }

  touch(serverName: string): void {
    this.#names.delete(serverName);
    this.#names.add(serverName);
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

  clear(): void {
    this.#names.clear();
  }
}
