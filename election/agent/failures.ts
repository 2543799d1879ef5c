import { LeaseholdError, StoreError } from '../../common/errors.ts';
import type { Failure } from '../core/types.ts';

/** The time-out of an effect, as the reason of its signal. */
export class EffectTimeout extends LeaseholdError {
  constructor(what: string, timeoutMs: number) {
    super('TIMEOUT', `${what} did not end within ${timeoutMs} ms`);
  }
}

/** Any error as the plain data that the core understands. `signal` is the effect's. */
export function toFailure(error: unknown, signal: AbortSignal): Failure {
  const reason: unknown = signal.reason;
  if (error instanceof StoreError) return { code: error.code, message: error.message, applied: error.outcome };
  if (signal.aborted && reason instanceof EffectTimeout) {
    return { code: reason.code, message: reason.message, applied: 'unknown' };
  }
  if (error instanceof LeaseholdError) return { code: error.code, message: error.message, applied: 'unknown' };
  const { code } = error as { code?: unknown };
  const message = error instanceof Error ? error.message : String(error);
  return { code: typeof code === 'string' ? code : 'ERROR', message, applied: 'unknown' };
}

/** Settles as the promise does, or rejects with the signal's reason when it aborts. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}
