import {
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCNotImplementedError,
  GRPCOutOfRangeError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { StoreError } from '../../common/errors.ts';
import type { EtcdEndpoint, EtcdService } from './etcd-endpoint.ts';
import type { CallOptions } from './port.ts';

export interface EtcdCall<T> {
  /** For the error text. */
  readonly what: string;
  readonly service: EtcdService;
  /** Whether it may be asked again where the first answer was lost. A transaction may not. */
  readonly repeatable: boolean;
  readonly run: (endpoint: EtcdEndpoint, grpc: { readonly deadline: number }) => Promise<T>;
}

/**
 * Runs calls on one endpoint after the other, within one deadline each. An endpoint that failed is left for the next
 * one by all later calls too. Deadlines are timers of our own; gRPC's only ends what was given up here.
 */
export class EtcdCaller {
  readonly #endpoints: readonly EtcdEndpoint[];
  #preferred = 0;

  constructor(endpoints: readonly EtcdEndpoint[]) {
    this.#endpoints = endpoints;
  }

  /** Throws `StoreError`, never anything else. */
  async call<T>(call: EtcdCall<T>, options: CallOptions): Promise<T> {
    const until = performance.now() + options.deadlineMs;
    const count = this.#endpoints.length;
    let failure = new StoreError('not-applied', `etcd: ${call.what}: no time left`);
    for (let attempt = 0; attempt < count; attempt++) {
      const remainingMs = until - performance.now();
      if (remainingMs < 1) break;
      if (isAborted(options.signal)) throw new StoreError('not-applied', `etcd: ${call.what}: aborted`);
      const index = this.#preferred;
      const endpoint = this.#endpoints[index];
      if (endpoint === undefined) break;
      const left = count - attempt;
      try {
        await within(
          endpoint.connect(call.service, remainingMs / left),
          remainingMs / left,
          options.signal,
          'not-applied',
          `etcd: ${call.what} at ${endpoint.url}`,
        );
        const callMs = until - performance.now();
        const budgetMs = call.repeatable && left > 1 ? callMs / 2 : callMs;
        const running = call.run(endpoint, { deadline: Date.now() + budgetMs });
        return await within(running, budgetMs, options.signal, 'unknown', `etcd: ${call.what} at ${endpoint.url}`);
      } catch (error) {
        failure = toStoreError(error, `etcd: ${call.what} at ${endpoint.url}`);
        if (error instanceof EtcdLeaseInvalidError || isAborted(options.signal)) throw failure;
        if (this.#preferred === index) this.#preferred = (index + 1) % count;
        if (failure.outcome === 'unknown' && !call.repeatable) throw failure;
      }
    }
    throw failure;
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/** Settles as the promise does, or rejects with `StoreError` when the time is up or the signal aborts. */
export function within<T>(
  promise: Promise<T>,
  ms: number,
  signal: AbortSignal | undefined,
  outcome: 'not-applied' | 'unknown',
  what: string,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => finish(() => reject(new StoreError(outcome, `${what}: aborted`, signal?.reason)));
    const timer = setTimeout(
      () => finish(() => reject(new StoreError(outcome, `${what}: no answer within ${Math.round(ms)} ms`))),
      ms,
    );
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => finish(() => resolve(value)),
      (error: unknown) => finish(() => reject(error instanceof Error ? error : new Error(String(error)))),
    );
    if (signal?.aborted === true) onAbort();
  });
}

/** etcd refuses these before it proposes anything. Everything else may have been carried out. */
const REFUSED = [
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  GRPCUnauthenticatedError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCFailedPreconditionError,
  GRPCOutOfRangeError,
  GRPCNotImplementedError,
];

export function toStoreError(error: unknown, what: string): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const refused = REFUSED.some((type) => error instanceof type);
  return new StoreError(refused ? 'not-applied' : 'unknown', `${what}: ${message}`, error);
}
