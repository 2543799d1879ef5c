import type { Backend } from './backend.ts';

interface Waiter {
  readonly sinceMs: number;
  readonly resolve: (backend: Backend) => void;
  readonly reject: (error: Error) => void;
}

/** Clients that wait for a connection, served in order of arrival. Each wait ends once: served, refused, or given up. */
export class WaitQueue {
  /** A Set keeps the order of insertion. */
  readonly #waiters = new Set<Waiter>();
  /** Called after the number of waiters changed. */
  readonly #onChange: (by: 1 | -1) => void;

  constructor(onChange: (by: 1 | -1) => void) {
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#waiters.size;
  }

  /** Since when the first has waited; Infinity when none does. */
  get sinceMs(): number {
    return this.#first()?.sinceMs ?? Infinity;
  }

  /** Rejects with the signal's reason when that aborts. */
  wait(sinceMs: number, signal: AbortSignal): Promise<Backend> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        signal.removeEventListener('abort', onAbort);
        if (this.#waiters.delete(waiter)) this.#onChange(-1);
      };
      const waiter: Waiter = {
        sinceMs,
        resolve: (backend) => {
          settle();
          resolve(backend);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.reject(asError(signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      this.#onChange(1);
    });
  }

  /** False: nobody waits. */
  serve(backend: Backend): boolean {
    const first = this.#first();
    first?.resolve(backend);
    return first !== undefined;
  }

  refuseFirst(error: unknown): void {
    this.#first()?.reject(asError(error));
  }

  /** All that have waited since `beforeMs` or longer. */
  refuse(beforeMs: number, error: () => Error): void {
    for (const waiter of this.#waiters) {
      if (waiter.sinceMs > beforeMs) return;
      waiter.reject(error());
    }
  }

  refuseAll(error: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(asError(error));
  }

  #first(): Waiter | undefined {
    for (const waiter of this.#waiters) return waiter;
    return undefined;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
