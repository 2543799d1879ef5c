import { setTimeout as sleep } from 'node:timers/promises';
import type { LeaseholdConfig } from '../../common/config/schema.ts';
import type { Logger } from '../../common/logger.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { type ClusterActions, createClusterActions } from '../admin/actions.ts';
import { type HttpApi, startHttp } from '../admin/http.ts';
import { notReadyReason } from '../admin/status.ts';
import type { AdminProviders, ProxyControl } from '../admin/types.ts';
import { createRegistration, type Registration } from '../cluster/registration.ts';
import { randomBytes } from 'node:crypto';
import type { DrillRunner } from '../drill/runner.ts';
import { createDrills } from './drills.ts';
import { FrontDoor } from './front-door.ts';
import { type Doors, openDoors } from './listener.ts';
import { loadAuth } from './live-auth.ts';
import { makeParts, type ProxyParts } from './parts.ts';
import { createReloader, type Reloader } from './reload.ts';
import { Stopping } from './drain.ts';
import { createControl, DisabledDatabases } from './operations.ts';
import { createProviders } from './providers.ts';
import { sweepTimeouts } from './timeout-sweep.ts';

export interface RunningProxy {
  readonly address: { readonly host: string; readonly port: number };
  readonly httpUrl: string;
  /** What SIGHUP asks for. Throws as `Reloader` says. */
  readonly reload: Reloader['reload'];
  /** How long an orderly stop may take, as the configuration is now. */
  readonly drainMs: () => number;
  /** Resolves when everything has been stopped after the signal. */
  readonly closed: Promise<void>;
}

export interface ProxyOptions {
  readonly config: LeaseholdConfig;
  readonly logger: Logger;
  /** Aborting it drains the proxy and stops it. */
  readonly signal: AbortSignal;
  /** Reads the configuration again, for a reload. Throws ConfigError. */
  readonly load?: () => LeaseholdConfig;
  /** For tests: another store than etcd. It is closed with the proxy. */
  readonly store?: LeaseStore;
}

/**
 * Starts a proxy; it serves when the promise resolves. Throws LeaseholdError (`PORT_IN_USE`, `CONFIG`, `LISTEN`); an etcd
 * or servers that cannot be reached are not errors here, they are waited for.
 */
export async function runProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { config, logger } = options;
  const { proxy } = config;
  const parts = await makeParts(options);
  const { context, verifiers, metrics, auth } = parts;
  const reloader = createReloader({
    started: config,
    live: context.live,
    load: options.load ?? null,
    check: (next) => void loadAuth(next),
    logger,
  });
  const stopping = new Stopping(options.signal);
  const stop = new AbortController();
  const disabled = new DisabledDatabases();
  const actions = createActions(config, parts);
  const ownDrills = createDrills(config, parts, actions);
  const drills = ownDrills.runner;
  const door = new FrontDoor({
    context,
    verifiers,
    auth,
    metrics,
    control: () => control,
    drills,
    disabled,
    signal: stop.signal,
  });
  const { pools } = context;
  const control = createControl({
    reloader,
    stopping,
    pools,
    sessions: door.sessions,
    disabled,
    aside: (ms) => door.stepAside(ms),
    drills: config.drills,
    logger,
  });
  parts.closers.push(sweepTimeouts(context, door.sessions, config.cluster.ttlMs));
  const providers = createProviders({
    context,
    pools,
    sessions: door.sessions,
    metrics,
    started: config,
    disabled,
    drills,
    clients: () => door.clients,
    arriving: () => door.arriving,
    draining: () => door.draining,
    standsAside: () => door.standsAside,
  });
  try {
    const http = await openHttp(config, parts, providers, { control, actions, drills }, logger);
    parts.closers.push(() => ownDrills.close());
    parts.closers.push(() => http.close());
    if (proxy.listen.reusePort) await untilReady(providers, options.signal);
    const doors = await openDoors(proxy.listen, (socket, local) => door.onConnection(socket, local, providers));
    const address = { host: doors.host, port: doors.port };
    const registration = register(config, parts, { address: proxy.advertise ?? address, httpUrl: http.url }, logger);
    logger.info({ event: 'proxy.listening', ...address, http: http.url }, 'the proxy takes clients');
    const closed = untilClosed({ doors, door, parts, http, registration, stopping, stop, logger });
    return {
      address,
      httpUrl: http.url,
      reload: () => reloader.reload(),
      drainMs: () => context.config.drainMs,
      closed,
    };
  } catch (error) {
    parts.gate.close();
    await closeAll(parts.closers, logger);
    throw error;
  }
}

/** How long a successor waits with taking clients until it can serve them. */
const READY_LIMIT_MS = 15_000;

/** Clients that come to a port which another process serves as well must not meet one that has still to find its cluster. */
async function untilReady(providers: AdminProviders, signal: AbortSignal): Promise<void> {
  const untilMs = performance.now() + READY_LIMIT_MS;
  while (performance.now() < untilMs && !signal.aborted && notReadyReason(providers.status()) !== null) await sleep(20);
}

function openHttp(
  config: LeaseholdConfig,
  parts: ProxyParts,
  providers: AdminProviders,
  operators: {
    readonly control: ProxyControl;
    readonly actions: ClusterActions;
    readonly drills: DrillRunner;
  },
  logger: Logger,
): Promise<HttpApi> {
  const { proxy, cluster } = config;
  return startHttp({
    ...proxy.http,
    ...operators,
    providers,
    metrics: parts.metrics,
    reusePort: proxy.listen.reusePort,
    apiToken: cluster.apiToken ?? null,
    hostNames: proxy.advertise === undefined ? [] : [proxy.advertise.host],
    logger,
  });
}

function createActions(config: LeaseholdConfig, { store, context }: ProxyParts): ClusterActions {
  const { name, apiToken = null } = config.cluster;
  return createClusterActions({ store, cluster: name, view: () => context.lease.view, apiToken });
}

function register(
  config: LeaseholdConfig,
  parts: ProxyParts,
  reached: { readonly address: { readonly host: string; readonly port: number }; readonly httpUrl: string },
  logger: Logger,
): Registration {
  const { store, gate, context } = parts;
  const { lease, clock } = context;
  const { name, ttlMs } = config.cluster;
  const proxyId = config.proxy.id;
  const registration = createRegistration({
    store,
    cluster: name,
    proxyId,
    ...(config.proxy.listen.reusePort ? { instance: randomBytes(4).toString('hex') } : {}),
    ...reached,
    ttlMs,
    lease,
    gate,
    clock,
    logger,
  });
  parts.closers.push(() => registration.close());
  return registration;
}

/** A port of this process alone: cancel requests for its sessions come to the successor, which passes them on. */
async function listenForCancels(running: {
  readonly door: FrontDoor;
  readonly parts: ProxyParts;
  readonly logger: Logger;
}): Promise<{ readonly host: string; readonly port: number } | undefined> {
  const { door, parts, logger } = running;
  const { listen: at, advertise } = parts.context.config;
  try {
    const { unixSocketDir: _, ...alone } = { ...at, port: 0, reusePort: false };
    const doors = await openDoors(alone, (socket) => door.onCancelConnection(socket));
    parts.closers.push(() => doors.stopListening());
    return { host: advertise?.host ?? doors.host, port: doors.port };
  } catch (error) {
    logger.warn({ event: 'proxy.no-cancel-port', error: String(error) }, 'its sessions cannot be cancelled any more');
    return undefined;
  }
}

/** How long the last connections may take to close. */
const LINGER_MS = 2_500;
/** Where a successor shares the port: sessions that did nothing for so long are ended, others may leave by themselves first. */
const LEAVE_MS = 500;

async function untilClosed(running: {
  readonly doors: Doors;
  readonly door: FrontDoor;
  readonly parts: ProxyParts;
  readonly http: HttpApi;
  readonly registration: Registration;
  readonly stopping: Stopping;
  readonly stop: AbortController;
  readonly logger: Logger;
}): Promise<void> {
  const { doors, door, parts, http, registration, stopping, stop, logger } = running;
  const { reusePort } = parts.context.config.listen;
  await stopping.begun;
  logger.info({ event: 'proxy.draining', clients: door.clients, mode: stopping.mode }, 'the proxy is stopping');
  if (reusePort) {
    http.stopListening(); // the ports are the successor's
    registration.drain(await listenForCancels(running));
  } else {
    registration.drain();
  }
  const accepted = doors.stopListening();
  await door.drain(() => stopping.mode, reusePort ? LEAVE_MS : 0);
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
