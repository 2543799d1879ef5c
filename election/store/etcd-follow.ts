import { setTimeout as sleep } from 'node:timers/promises';
import type { IWatchResponse } from 'etcd3';
import { StoreError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { toStoreError, within } from './etcd-call.ts';
import { prefixRange } from './etcd-codec.ts';
import { EtcdEndpoint } from './etcd-endpoint.ts';
import { FollowedPrefix } from './etcd-followed-prefix.ts';
import { type EtcdCredentials, tlsFault } from './etcd-tls.ts';
import type { FollowOptions } from './port.ts';

export interface FollowContext extends FollowOptions {
  readonly prefix: string;
  /** Tried in turn. */
  readonly urls: readonly string[];
  readonly credentials: EtcdCredentials | null;
  readonly logger: Logger;
}

const RETRY_MS = [50, 100, 200, 400, 500];

/**
 * Follows a prefix until the signal aborts; never rejects. A watch brings changes at once; a read every `refreshMs`
 * on another connection backs it, because a watch can fall silent without an error (a half-open connection, a member
 * that lost its cluster). After any failure the next endpoint is read anew and watched from there.
 */
export async function followPrefix(context: FollowContext): Promise<void> {
  const { signal, urls } = context;
  const followed = new FollowedPrefix(context.onSnapshot);
  let failures = 0;
  for (let turn = 0; !signal.aborted; turn++) {
    const url = urls[turn % urls.length];
    if (url === undefined) return;
    const endpoint = new EtcdEndpoint(url, context.credentials);
    try {
      await followOn(endpoint, followed, context, () => {
        failures = 0;
      });
    } catch (error) {
      if (signal.aborted) return;
      const failure = await explained(toStoreError(error, `etcd: follow at ${url}`), failures, url, context);
      context.logger.debug({ event: 'store.follow-failed', endpoint: url, err: failure }, 'etcd cannot be followed');
      context.onUnreachable(failure);
      const waitMs = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)];
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    } finally {
      endpoint.close();
    }
  }
}

/** gRPC only says that there is no connection; the first time in a row, what TLS makes of it is asked for. */
async function explained(failure: StoreError, failures: number, url: string, context: FollowContext) {
  if (failures > 0 || !url.startsWith('https:')) return failure;
  const reason = await tlsFault(url, context.credentials);
  return reason === null ? failure : new StoreError(failure.outcome, `${failure.message}: ${reason}`, failure);
}

/** Ends by an error only: the endpoint's, or the signal's. */
async function followOn(
  endpoint: EtcdEndpoint,
  followed: FollowedPrefix,
  context: FollowContext,
  onAnswer: () => void,
): Promise<never> {
  const { signal, refreshMs } = context;
  for (;;) {
    followed.adoptRead(await read(endpoint, context));
    onAnswer();
    const watch = await openWatch(endpoint, context.prefix, followed, signal);
    try {
      while (!watch.ended.aborted && !followed.watchIsSilent) {
        await sleep(refreshMs, undefined, { signal: AbortSignal.any([signal, watch.ended]) }).catch(() => undefined);
        signal.throwIfAborted();
        if (watch.ended.aborted) break;
        followed.adoptRead(await read(endpoint, context));
      }
    } finally {
      watch.close();
    }
    const reason: unknown = watch.ended.reason;
    if (watch.ended.aborted && !(reason instanceof WatchRestart)) throw reason;
  }
}

async function read(endpoint: EtcdEndpoint, context: FollowContext) {
  const deadlineMs = Math.min(Math.max(context.refreshMs, 300), 2000);
  const what = `etcd: read at ${endpoint.url}`;
  await within(endpoint.connect('KV', deadlineMs), deadlineMs, context.signal, 'not-applied', what);
  const range = endpoint.kv.range(prefixRange(context.prefix), { deadline: Date.now() + deadlineMs });
  return within(range, deadlineMs, context.signal, 'unknown', what);
}

/** The watch asked for revisions that etcd has compacted: read anew, on the same endpoint. */
class WatchRestart extends StoreError {}

interface OpenWatch {
  /** Aborts when the watch is over, with the reason. */
  readonly ended: AbortSignal;
  close(): void;
}

async function openWatch(
  endpoint: EtcdEndpoint,
  prefix: string,
  followed: FollowedPrefix,
  signal: AbortSignal,
): Promise<OpenWatch> {
  const what = `etcd: watch at ${endpoint.url}`;
  const ended = new AbortController();
  await within(endpoint.connect('Watch', 1000), 1000, signal, 'not-applied', what);
  const stream = await endpoint.watchClient.watch();
  let closed = false;
  stream.on('data', (response: IWatchResponse) => {
    if (closed) return;
    if (response.canceled) {
      const compacted = response.compact_revision !== '0';
      const reason = `${what}: cancelled by etcd${compacted ? `, compacted at ${response.compact_revision}` : ''}`;
      ended.abort(compacted ? new WatchRestart('unknown', reason) : new StoreError('unknown', reason));
      return;
    }
    followed.applyEvents(response.events);
  });
  stream.on('error', (error) => ended.abort(toStoreError(error, what)));
  stream.on('end', () => ended.abort(new StoreError('unknown', `${what}: ended by etcd`)));
  stream.write({
    create_request: { ...prefixRange(prefix), start_revision: followed.revision + 1, progress_notify: true },
  });
  return {
    ended: ended.signal,
    close() {
      closed = true;
      stream.cancel();
    },
  };
}
