import type { Backend } from './backend.ts';

/** Who waits for a connection. Each wait ends once: served, refused, or left. */
export interface Waiter {
  readonly sinceMs: number;
  /** Both are called in the middle of others' work, and must only note what is to be done. It has left the queue. */
  served(backend: Backend): void;
  refused(error: Error): void;
}

/** Clients that wait for a connection, served in order of arrival. */
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

  enter(waiter: Waiter): void {
    this.#waiters.add(waiter);
    this.#onChange(1);
  }

  leave(waiter: Waiter): void {
    if (this.#waiters.delete(waiter)) this.#onChange(-1);
  }

  /** Rejects with the signal's reason when that aborts. */
  wait(sinceMs: number, signal: AbortSignal): Promise<Backend> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        sinceMs,
        served: (backend) => {
          signal.removeEventListener('abort', onAbort);
          resolve(backend);
        },
        refused: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      const onAbort = (): void => {
        this.leave(waiter);
        reject(asError(signal.reason));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.enter(waiter);
    });
  }

  /** False: nobody waits. */
  serve(backend: Backend): boolean {
    const first = this.#first();
    if (first === undefined) return false;
    this.leave(first);
    first.served(backend);
    return true;
  }

  refuseFirst(error: unknown): void {
    const first = this.#first();
    if (first !== undefined) this.#refuse(first, error);
  }

  /** All that have waited since `beforeMs` or longer. */
  refuse(beforeMs: number, error: () => Error): void {
    for (const waiter of this.#waiters) {
      if (waiter.sinceMs > beforeMs) return;
      this.#refuse(waiter, error());
    }
  }

  refuseAll(error: unknown): void {
    for (const waiter of this.#waiters) this.#refuse(waiter, error);
  }

  #refuse(waiter: Waiter, error: unknown): void {
    this.leave(waiter);
    waiter.refused(asError(error));
  }

  #first(): Waiter | undefined {
    for (const waiter of this.#waiters) return waiter;
    return undefined;
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
