const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Signals within this time of the first are one request: a terminal and a wrapper (npm) both send theirs. */
const SAME_REQUEST_MS = 1000;

/** The first signal asks for an orderly stop, a later one for a fast one. A closed IPC channel (our wrapper died) counts as a signal. */
export class StopSignals {
  readonly #stop = new AbortController();
  readonly #hurry = new AbortController();
  readonly #listener = () => this.#onSignal();
  #firstMs = 0;

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#listener);
    process.on('disconnect', this.#listener);
    process.channel?.unref();
  }

  /** Aborts when the process should stop. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Aborts when it should stop without waiting for anything. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  get requested(): Promise<void> {
    const { signal } = this.#stop;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  close(): void {
    for (const name of SIGNALS) process.off(name, this.#listener);
    process.off('disconnect', this.#listener);
  }

  #onSignal(): void {
    const nowMs = performance.now();
    if (!this.#stop.signal.aborted) {
      this.#firstMs = nowMs;
      this.#stop.abort(new Error('asked to stop'));
    } else if (nowMs - this.#firstMs > SAME_REQUEST_MS) {
      this.#hurry.abort(new Error('asked to stop at once'));
    }
  }
}
