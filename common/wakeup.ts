/**
 * A wait that ends after a time, or earlier when somebody wakes it. A wake-up that comes while nobody waits is kept
 * for the next wait; several count as one. For one waiter at a time.
 */
export class Wakeup {
  #pending = false;
  #end: (() => void) | null = null;

  wake(): void {
    if (this.#end === null) this.#pending = true;
    else this.#end();
  }

  /** Never rejects; ends at once when the signal has aborted. `Infinity` waits for a wake-up alone. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#pending || signal.aborted || ms <= 0) {
      this.#pending = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        this.#end = null;
        this.#pending = false;
        resolve();
      };
      const timer = Number.isFinite(ms) ? setTimeout(end, ms) : undefined;
      signal.addEventListener('abort', end, { once: true });
      this.#end = end;
    });
  }
}
