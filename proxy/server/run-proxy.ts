import type { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LeaseholdConfig } from '../../common/config/schema.ts';
import type { Logger } from '../../common/logger.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { createClusterActions } from '../admin/actions.ts';
import { type HttpApi, startHttp } from '../admin/http.ts';
import type { AdminProviders } from '../admin/types.ts';
import { createRegistration } from '../cluster/registration.ts';
import { FrontDoor } from './front-door.ts';
import { listen, stopListening } from './listener.ts';
import { makeParts, type ProxyParts } from './parts.ts';
import { createProviders } from './providers.ts';
import { backendTls, clientTls } from './tls.ts';

export interface RunningProxy {
  readonly address: { readonly host: string; readonly port: number };
  readonly httpUrl: string;
  /** Resolves when everything has been stopped after the signal. */
  readonly closed: Promise<void>;
}

export interface ProxyOptions {
  readonly config: LeaseholdConfig;
  readonly logger: Logger;
  /** Aborting it drains the proxy and stops it. */
  readonly signal: AbortSignal;
  /** For tests: another store than etcd. It is closed with the proxy. */
  readonly store?: LeaseStore;
}

/** How long sessions in a transaction may go on after the signal. */
const DRAIN_MS = 5_000;

/**
 * Starts a proxy; it serves when the promise resolves. Throws LeaseholdError (`PORT_IN_USE`, `CONFIG`, `LISTEN`); an etcd
 * or servers that cannot be reached are not errors here, they are waited for.
 */
export async function runProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { config, logger, signal } = options;
  const { proxy } = config;
  const tls = clientTls(proxy);
  const parts = await makeParts(options);
  const { context, verifiers, metrics } = parts;
  const stop = new AbortController();
  const serverTls = backendTls(proxy);
  const door = new FrontDoor({ context, verifiers, tls, serverTls, metrics, signal: stop.signal });
  const providers = createProviders({
    context,
    pools: context.pools,
    sessions: door.sessions,
    cluster: config.cluster.name,
    clients: () => door.clients,
    draining: () => door.draining,
  });
  try {
    const http = await openHttp(config, parts, providers, logger);
    parts.closers.push(() => http.close());
    const { server, port } = await listen(proxy.listen, (socket) => door.onConnection(socket, providers));
    const address = { host: proxy.listen.host, port };
    register(config, parts, { address: proxy.advertise ?? address, httpUrl: http.url }, logger);
    logger.info({ event: 'proxy.listening', ...address, http: http.url }, 'the proxy takes clients');
    const closed = untilClosed({ server, door, parts, stop, signal, logger });
    return { address, httpUrl: http.url, closed };
  } catch (error) {
    parts.gate.close();
    await closeAll(parts.closers, logger);
    throw error;
  }
}

function openHttp(
  config: LeaseholdConfig,
  parts: ProxyParts,
  providers: AdminProviders,
  logger: Logger,
): Promise<HttpApi> {
  const { proxy, cluster } = config;
  const apiToken = cluster.apiToken ?? null;
  const { store, context, metrics } = parts;
  return startHttp({
    ...proxy.http,
    providers,
    metrics,
    actions: createClusterActions({ store, cluster: cluster.name, view: () => context.lease.view, apiToken }),
    apiToken,
    hostNames: proxy.advertise === undefined ? [] : [proxy.advertise.host],
    logger,
  });
}

function register(
  config: LeaseholdConfig,
  parts: ProxyParts,
  reached: { readonly address: { readonly host: string; readonly port: number }; readonly httpUrl: string },
  logger: Logger,
): void {
  const { store, gate, context } = parts;
  const { lease, clock } = context;
  const { name, ttlMs } = config.cluster;
  const proxyId = config.proxy.id;
  const registration = createRegistration({
    store,
    cluster: name,
    proxyId,
    ...reached,
    ttlMs,
    lease,
    gate,
    clock,
    logger,
  });
  parts.closers.push(() => registration.close());
}

/** How long the last connections may take to close. */
const LINGER_MS = 2_500;

async function untilClosed(running: {
  readonly server: Server;
  readonly door: FrontDoor;
  readonly parts: ProxyParts;
  readonly stop: AbortController;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}): Promise<void> {
  const { server, door, parts, stop, signal, logger } = running;
  await aborted(signal);
  logger.info({ event: 'proxy.draining', clients: door.clients }, 'the proxy is stopping');
  const accepted = stopListening(server);
  await door.drain(DRAIN_MS);
  stop.abort(new Error('the proxy is shutting down'));
  parts.gate.close();
  await closeAll(parts.closers, logger);
  const linger = new AbortController();
  await Promise.race([accepted, sleep(LINGER_MS, undefined, { signal: linger.signal }).catch(() => undefined)]);
  linger.abort();
  logger.info({ event: 'proxy.stopped' }, 'the proxy has stopped');
}

/** Last in, first out; one that fails does not keep the others. */
async function closeAll(closers: ProxyParts['closers'], logger: Logger): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close();
    } catch (error) {
      logger.warn({ event: 'proxy.close-failed', error: String(error) }, 'something could not be closed in order');
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
