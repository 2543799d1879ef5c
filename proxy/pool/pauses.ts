/** Which databases an operator has paused (PAUSE, KILL), and who waits until nothing of them is left. */
export class Pauses {
  #all = false;
  readonly #databases = new Set<string>();
  readonly #waits = new Set<() => void>();

  holds(database: string): boolean {
    return this.#all || this.#databases.has(database);
  }

  /** Some database is, or all are. */
  get any(): boolean {
    return this.#all || this.#databases.size > 0;
  }

  hold(database: string | null): void {
    if (database === null) this.#all = true;
    else this.#databases.add(database);
  }

  /** Null: everything that was paused. Of one database, though all are paused: nothing, as long as they are. */
  release(database: string | null): void {
    if (database === null) {
      this.#all = false;
      this.#databases.clear();
    } else this.#databases.delete(database);
  }

  untilEmpty(isEmpty: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (signal.aborted) end(() => reject(signal.reason as Error));
        else if (isEmpty()) end(resolve);
      };
      const end = (settle: () => void): void => {
        this.#waits.delete(look);
        signal.removeEventListener('abort', look);
        settle();
      };
      this.#waits.add(look);
      signal.addEventListener('abort', look, { once: true });
      look();
    });
  }

  /** Something has come to its end. */
  look(): void {
    for (const look of this.#waits) look();
  }
}
