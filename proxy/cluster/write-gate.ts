import type { Clock } from '../../common/clock.ts';
import { ClientError } from '../../common/errors.ts';
import { seconds } from './lease-confirmation.ts';
import type { LeaderPass, LeaderTarget, LeaseView, WriteGate } from './types.ts';

export interface WriteGateOptions {
  readonly lease: LeaseView;
  readonly clock: Clock;
  /** Asked each time, since a reload may change them. */
  readonly limits: () => GateLimits;
}

export interface GateLimits {
  /** How long work waits before it is refused. */
  readonly deadlineMs: number;
  readonly maxHeld: number;
}

/** For the registration, which acknowledges holds, and for metrics. */
export interface ObservableWriteGate extends WriteGate {
  /** After each change of `held` or `inFlight` to or from 0. Returns how to stop. */
  subscribe(listener: () => void): () => void;
  /** Refuses what is held (57P01) and lets nothing in any more. */
  close(): void;
}

export function createWriteGate(options: WriteGateOptions): ObservableWriteGate {
  return new HoldingGate(options);
}

interface Waiter {
  readonly admit: (target: LeaderTarget) => void;
  readonly refuse: (error: ClientError) => void;
}

class Pass implements LeaderPass {
  readonly term: LeaderTarget['term'];
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly seq: number;
  readonly #onLeave: () => void;
  #left = false;

  constructor({ term, node, host, port, seq }: LeaderTarget, onLeave: () => void) {
    this.term = term;
    this.node = node;
    this.host = host;
    this.port = port;
    this.seq = seq;
    this.#onLeave = onLeave;
  }

  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#onLeave();
  }
}

class HoldingGate implements ObservableWriteGate {
  readonly #options: WriteGateOptions;
  /** In order of arrival; a Set, so that one that gave up leaves at once. */
  readonly #waiting = new Set<Waiter>();
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: () => void;
  #inFlight = 0;
  #closed = false;

  constructor(options: WriteGateOptions) {
    this.#options = options;
    this.#unsubscribe = options.lease.subscribe(() => this.#admitHeld());
  }

  get held(): number {
    return this.#waiting.size;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  tryEnter(): LeaderPass | null {
    if (this.#closed) return null;
    if (this.#waiting.size > 0) this.#admitHeld(); // nobody overtakes
    const target = this.#options.lease.leader();
    return target === null ? null : this.#pass(target);
  }

  enter(signal: AbortSignal): Promise<LeaderPass> {
    if (this.#closed) return Promise.reject(shuttingDown());
    if (signal.aborted) return Promise.reject(signal.reason);
    const pass = this.tryEnter();
    if (pass !== null) return Promise.resolve(pass);
    if (this.#waiting.size >= this.#options.limits().maxHeld) return Promise.reject(this.#tooMany());
    return this.#hold(signal);
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    for (const waiter of this.#waiting) waiter.refuse(shuttingDown());
  }

  #hold(signal: AbortSignal): Promise<LeaderPass> {
    const { clock, limits } = this.#options;
    const { deadlineMs } = limits();
    const sinceMs = clock.nowMs();
    return new Promise((resolve, reject) => {
      const leaveQueue = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#waiting.delete(waiter);
        if (this.#waiting.size === 0) this.#notify();
      };
      const waiter: Waiter = {
        admit: (target) => {
          leaveQueue();
          resolve(this.#pass(target));
        },
        refuse: (error) => {
          leaveQueue();
          reject(error);
        },
      };
      const onAbort = () => {
        leaveQueue();
        reject(signal.reason);
      };
      const timer = setTimeout(() => waiter.refuse(this.#tooLong(clock.nowMs() - sinceMs)), deadlineMs);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(waiter);
      if (this.#waiting.size === 1) this.#notify();
    });
  }

  #admitHeld(): void {
    for (const waiter of this.#waiting) {
      const target = this.#options.lease.leader();
      if (target === null) return;
      waiter.admit(target);
    }
  }

  #pass(target: LeaderTarget): LeaderPass {
    this.#inFlight++;
    if (this.#inFlight === 1) this.#notify();
    return new Pass(target, this.#leave);
  }

  readonly #leave = (): void => {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#notify();
  };

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #tooLong(waitedMs: number): ClientError {
    return new ClientError({
      sqlState: '57P03',
      message: `no leader accepts writes: waited ${seconds(waitedMs)}; ${this.#options.lease.explain()}`,
      hint: 'The statement was not run. Try again later; "leasehold status" shows the cluster.',
      safeToRetry: true,
    });
  }

  #tooMany(): ClientError {
    return new ClientError({
      sqlState: '53300',
      message: `no leader accepts writes, and ${this.#waiting.size} statements wait already; ${this.#options.lease.explain()}`,
      hint: 'The statement was not run. hold.maxHeld bounds how many may wait.',
      safeToRetry: true,
    });
  }
}

function shuttingDown(): ClientError {
  return new ClientError({
    sqlState: '57P01',
    severity: 'FATAL',
    message: 'the proxy is shutting down; the statement was not run',
    safeToRetry: true,
  });
}
