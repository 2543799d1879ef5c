import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../common/errors.ts';
import type { CallOptions, LeaseStore } from './port.ts';

/** A store that can be cut off: a drill's switch between an agent and its etcd. */
export interface CuttableStore extends LeaseStore {
  /** For so long; 0 ends it. The timer is the store's own, so that nobody can leave it cut. */
  cut(ms: number): void;
  /** How long it is still cut; 0: it is not. */
  readonly cutForMs: number;
}

const UNREACHABLE_EVERY_MS = 250;

/**
 * What an agent sees of a network that drops everything between it and etcd: no answer, neither to what it asks now nor to what
 * was under way, until the call's own deadline; nothing new of the keys that it follows. As with a real partition nobody knows whether a request
 * arrived, so every failure is an `unknown` one (one that was under way may have been carried out, one that is asked meanwhile is not
 * sent). Connections stay open below, so the first call after the end finds them ready.
 */
export function cuttable(inner: LeaseStore): CuttableStore {
  let untilMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const cutForMs = () => Math.max(0, untilMs - performance.now());

  const pass = async <T>(what: string, options: CallOptions, call: () => Promise<T>): Promise<T> => {
    const deadlineMs = performance.now() + options.deadlineMs;
    if (cutForMs() > 0) return await silence(what, deadlineMs, options.signal);
    try {
      const answer = await call();
      if (cutForMs() > 0) return await silence(what, deadlineMs, options.signal);
      return answer;
    } catch (error) {
      if (cutForMs() > 0 && options.signal?.aborted !== true) return await silence(what, deadlineMs, options.signal);
      throw error;
    }
  };

  return {
    get cutForMs() {
      return cutForMs();
    },
    cut(ms) {
      clearTimeout(timer);
      untilMs = performance.now() + ms;
      // A process whose clock stood still: the timer, too, ends it.
      if (ms > 0) {
        timer = setTimeout(() => {
          untilMs = 0;
        }, ms);
        timer.unref();
      }
    },
    grantLease: (ttlMs, options) => pass('grant a lease', options, () => inner.grantLease(ttlMs, options)),
    keepAlive: (lease, options) => pass('keep a lease alive', options, () => inner.keepAlive(lease, options)),
    timeToLive: (lease, options) => pass('time to live', options, () => inner.timeToLive(lease, options)),
    revokeLease: (lease, options) => pass('revoke a lease', options, () => inner.revokeLease(lease, options)),
    transact: (transaction, options) => pass('transaction', options, () => inner.transact(transaction, options)),
    readAll: (prefix, options) => pass('read', options, () => inner.readAll(prefix, options)),
    follow(prefix, options) {
      const tell = setInterval(() => {
        if (cutForMs() > 0) options.onUnreachable(new StoreError('unknown', 'etcd: follow: cut off by a drill'));
      }, UNREACHABLE_EVERY_MS);
      tell.unref();
      options.signal.addEventListener('abort', () => clearInterval(tell), { once: true });
      inner.follow(prefix, {
        ...options,
        // The next read, within `refreshMs` of the end, brings everything that was missed.
        onSnapshot: (snapshot) => {
          if (cutForMs() === 0) options.onSnapshot(snapshot);
        },
        onUnreachable: (error) => options.onUnreachable(error),
      });
    },
    async close() {
      clearTimeout(timer);
      await inner.close();
    },
  };
}

async function silence(what: string, deadlineMs: number, signal: AbortSignal | undefined): Promise<never> {
  await sleep(Math.max(0, deadlineMs - performance.now()), undefined, signal === undefined ? {} : { signal });
  throw new StoreError('unknown', `etcd: ${what}: no answer, cut off by a drill`);
}
