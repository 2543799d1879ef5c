import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { LeaseholdConfig, ProxyConfig, ServiceConfig } from '../../common/config/schema.ts';
import { LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { NO_TERM } from '../../common/lsn.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { createReplicationMonitor } from '../../replication-monitor/sampler.ts';
import type { MonitorTargets, ReplicationMonitor } from '../../replication-monitor/types.ts';
import { createClusterActions } from '../admin/actions.ts';
import { type HttpApi, startHttp } from '../admin/http.ts';
import { createProxyMetrics } from '../admin/metrics.ts';
import { VERSION } from '../admin/version.ts';
import { loginToBackend } from '../auth/backend-login.ts';
import type { BackendTarget } from '../auth/types.ts';
import { createVerifierSource } from '../auth/verifiers.ts';
import { createLeaseView } from '../cluster/lease-view.ts';
import { createRegistration } from '../cluster/registration.ts';
import type { LeaseView } from '../cluster/types.ts';
import { createWriteGate } from '../cluster/write-gate.ts';
import { PoolSet } from '../pool/pool-set.ts';
import type { SessionContext } from '../session/context.ts';
import { StatementStore } from '../session/prepared.ts';
import { createClassifier } from '../sql/classify.ts';
import { Catalogs } from './catalogs.ts';
import { FrontDoor } from './front-door.ts';
import { createLeaseClock } from './lease-clock.ts';
import { listen, stopListening } from './listener.ts';
import { createProviders } from './providers.ts';
import { monitorTargets, sameTargets } from './targets.ts';

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
  const service = needService(config);
  const { proxy, cluster } = config;
  const tls = clientTls(proxy);
  const serverTls = backendTls(proxy);
  const clock = createLeaseClock();
  const classifier = await createClassifier({ seed: Math.floor(Math.random() * 2 ** 32) });
  const metrics = createProxyMetrics();
  const stop = new AbortController();

  const store = options.store ?? createEtcdStore({ endpoints: cluster.etcd, logger });
  const lease = createLeaseView({
    store,
    cluster: cluster.name,
    proxyId: proxy.id,
    clock,
    marginMs: cluster.marginMs,
    ttlMs: cluster.ttlMs,
    logger,
  });
  const gate = createWriteGate({ lease, clock, deadlineMs: proxy.hold.deadlineMs, maxHeld: proxy.hold.maxHeld });
  const monitor = createReplicationMonitor({ clock, credentials: service, logger, ...monitorTls(proxy) });
  const pools = new PoolSet({ tls: serverTls, limits: proxy.pool, clock, logger, login: loginToBackend });
  const catalogs = new Catalogs({ service, lease, monitor, pools, logger });
  const unfollow = followCluster(lease, monitor, pools);
  const verifiers = createVerifierSource({
    service,
    servers: () => serversOf(lease, monitor),
    tls: driverTls(proxy),
    clock,
    logger,
  });
  const context: SessionContext = {
    config: proxy,
    clock,
    logger,
    classifier,
    lease,
    gate,
    monitor,
    pools,
    metrics,
    statements: new StatementStore(),
    catalogOf: (database) => catalogs.of(database),
    databaseFloors: new Map(),
    version: VERSION,
  };
  const door = new FrontDoor({ context, verifiers, tls, serverTls, metrics, signal: stop.signal });
  const providers = createProviders({
    context,
    pools,
    sessions: door.sessions,
    cluster: cluster.name,
    clients: () => door.clients,
    draining: () => door.draining,
  });
  const closers: (() => Promise<void> | void)[] = [
    () => store.close(),
    () => lease.close(),
    () => monitor.close(),
    () => pools.close(),
    () => catalogs.close(),
    unfollow,
  ];

  let http: HttpApi;
  let door_: Awaited<ReturnType<typeof listen>>;
  try {
    http = await startHttp({
      ...proxy.http,
      providers,
      metrics,
      actions: createClusterActions({
        store,
        cluster: cluster.name,
        view: () => lease.view,
        apiToken: cluster.apiToken ?? null,
      }),
      apiToken: cluster.apiToken ?? null,
      hostNames: proxy.advertise === undefined ? [] : [proxy.advertise.host],
      logger,
    });
    closers.push(() => http.close());
    door_ = await listen(proxy.listen, (socket) => door.onConnection(socket, providers));
  } catch (error) {
    gate.close();
    await closeAll(closers, logger);
    throw error;
  }
  const { server, port } = door_;
  const address = { host: proxy.listen.host, port };
  const registration = createRegistration({
    store,
    cluster: cluster.name,
    proxyId: proxy.id,
    address: proxy.advertise ?? address,
    httpUrl: http.url,
    ttlMs: cluster.ttlMs,
    lease,
    gate,
    clock,
    logger,
  });
  closers.push(() => registration.close());
  logger.info({ event: 'proxy.listening', ...address, http: http.url }, 'the proxy takes clients');

  const closed = (async () => {
    await aborted(signal);
    logger.info({ event: 'proxy.draining', clients: door.clients }, 'the proxy is stopping');
    const accepted = stopListening(server);
    await door.drain(DRAIN_MS);
    stop.abort(new Error('the proxy is shutting down'));
    gate.close();
    await closeAll(closers, logger);
    await Promise.race([accepted, new Promise((resolve) => setTimeout(resolve, 2_500))]);
    logger.info({ event: 'proxy.stopped' }, 'the proxy has stopped');
  })();
  return { address, httpUrl: http.url, closed };
}

/** What follows from each change in etcd: the monitor's targets, and the end of older terms' connections (S5). */
function followCluster(lease: LeaseView, monitor: ReplicationMonitor, pools: PoolSet): () => void {
  let targets: MonitorTargets = { term: NO_TERM, leader: null, nodes: [] };
  const look = (): void => {
    const next = monitorTargets(lease.view);
    if (!sameTargets(targets, next)) {
      targets = next;
      monitor.setTargets(next);
    }
    if (next.term !== NO_TERM) pools.endTermsBefore(next.term);
  };
  look();
  return lease.subscribe(look);
}

/** Last in, first out; one that fails does not keep the others. */
async function closeAll(closers: readonly (() => Promise<void> | void)[], logger: Logger): Promise<void> {
  for (const close of [...closers].reverse()) {
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

function serversOf(lease: LeaseView, monitor: ReplicationMonitor): { host: string; port: number }[] {
  const servers: { host: string; port: number }[] = [];
  const leader = lease.leader();
  if (leader !== null) servers.push({ host: leader.host, port: leader.port });
  for (const { usable, role, host, port } of monitor.snapshot.nodes.values()) {
    if (usable && role === 'follower') servers.push({ host, port });
  }
  return servers;
}

function needService(config: LeaseholdConfig): ServiceConfig {
  if (config.service !== undefined) return config.service;
  throw new LeaseholdError('CONFIG', 'a proxy needs service.password: the password of the role it asks servers with');
}

// ---- TLS

function clientTls(proxy: ProxyConfig): SecureContext | null {
  if (proxy.tls === undefined) return null;
  const { certFile, keyFile } = proxy.tls;
  return createSecureContext({
    cert: readFile(certFile, 'proxy.tls.certFile'),
    key: readFile(keyFile, 'proxy.tls.keyFile'),
  });
}

function backendTls(proxy: ProxyConfig): BackendTarget['tls'] {
  const { mode, caFile } = proxy.serverTls;
  return caFile === undefined ? { mode } : { mode, ca: readFile(caFile, 'proxy.serverTls.caFile') };
}

function driverTls(proxy: ProxyConfig): false | { rejectUnauthorized: boolean; ca?: Buffer } {
  const { mode, ca } = backendTls(proxy);
  if (mode === 'disable') return false;
  return { rejectUnauthorized: mode === 'verify-full', ...(ca === undefined ? {} : { ca }) };
}

function monitorTls(proxy: ProxyConfig): { tls?: { rejectUnauthorized: boolean; ca?: Buffer } } {
  const tls = driverTls(proxy);
  return tls === false ? {} : { tls };
}

function readFile(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new LeaseholdError('CONFIG', `${setting}: cannot read ${path}: ${String(error)}`, error);
  }
}
