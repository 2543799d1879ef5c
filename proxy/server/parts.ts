import type { LeaseholdConfig, ServiceConfig } from '../../common/config/schema.ts';
import { LiveConfig } from '../../common/config/live.ts';
import { LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { NO_TERM } from '../../common/lsn.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { createReplicationMonitor } from '../../replication-monitor/sampler.ts';
import type { MonitorTargets, ReplicationMonitor } from '../../replication-monitor/types.ts';
import { createProxyMetrics, type MetricsRegistry } from '../admin/metrics.ts';
import { VERSION } from '../admin/version.ts';
import { loginToBackend } from '../auth/backend-login.ts';
import { CancelKeys } from '../auth/cancel-keys.ts';
import type { VerifierSource } from '../auth/types.ts';
import { createVerifierSource } from '../auth/verifiers.ts';
import { createLeaseView } from '../cluster/lease-view.ts';
import type { LeaseView } from '../cluster/types.ts';
import { createWriteGate, type ObservableWriteGate } from '../cluster/write-gate.ts';
import { PoolSet } from '../pool/pool-set.ts';
import type { SessionContext } from '../session/context.ts';
import { StatementStore } from '../session/prepared.ts';
import { SequenceReaders } from '../session/sequences.ts';
import { ShadowLog } from '../session/shadow.ts';
import { createClassifier } from '../sql/classify.ts';
import { Catalogs } from './catalogs.ts';
import { createLeaseClock } from './lease-clock.ts';
import { LiveAuth } from './live-auth.ts';
import { monitorTargets, sameTargets } from './targets.ts';
import { poolPlaces, poolSettings } from './pool-settings.ts';
import { driverTls } from './tls.ts';

/** What a proxy is made of, but for its doors to the outside. */
export interface ProxyParts {
  readonly store: LeaseStore;
  readonly gate: ObservableWriteGate;
  readonly metrics: MetricsRegistry;
  readonly verifiers: VerifierSource;
  readonly auth: LiveAuth;
  readonly context: SessionContext;
  /** In the order of making; to be called in the opposite order. */
  readonly closers: (() => Promise<void> | void)[];
}

export interface PartsOptions {
  readonly config: LeaseholdConfig;
  readonly logger: Logger;
  readonly store?: LeaseStore;
}

/** Makes the parts and joins them. Throws LeaseholdError `CONFIG`. */
export async function makeParts(options: PartsOptions): Promise<ProxyParts> {
  const { config, logger } = options;
  const { proxy, cluster } = config;
  const service = needService(config);
  const live = new LiveConfig(proxy);
  const metrics = createProxyMetrics({ live, logger });
  const classifier = await createClassifier({
    seed: Math.floor(Math.random() * 2 ** 32),
    onParsed: (ms) => metrics.parsed(ms),
  });
  const clock = createLeaseClock();
  const store = options.store ?? createEtcdStore({ endpoints: cluster.etcd, tls: cluster.etcdTls, logger });
  const { marginMs, ttlMs } = cluster;
  const lease = createLeaseView({ store, cluster: cluster.name, proxyId: proxy.id, clock, marginMs, ttlMs, logger });
  const auth = new LiveAuth(live, logger);
  const serviceTls = driverTls(() => auth.current.serverTls);
  const gate = createWriteGate({ lease, clock, limits: () => live.current.hold });
  const monitor = createReplicationMonitor({
    clock,
    credentials: service,
    logger,
    ...(serviceTls === false ? {} : { tls: serviceTls }),
  });
  const pools = new PoolSet({
    settings: poolSettings(proxy, auth.current.serverTls),
    clock,
    logger,
    login: countedLogin(metrics),
  });
  const repool = () => pools.reconfigure(poolSettings(live.current, auth.current.serverTls));
  live.subscribe(repool);
  auth.subscribe(repool);
  monitor.subscribe((snapshot) => pools.noteNodes([...snapshot.nodes.values()]));
  const catalogs = new Catalogs({ service, lease, monitor, pools, logger });
  const unfollow = followCluster(lease, monitor, pools);
  const servers = () => serversOf(lease, monitor);
  const verifiers = createVerifierSource({ service, servers, tls: serviceTls, clock, logger });
  const context: SessionContext = {
    get config() {
      return live.current;
    },
    live,
    clock,
    logger,
    classifier,
    lease,
    gate,
    monitor,
    pools,
    roleDefaults: verifiers,
    metrics,
    statements: new StatementStore(),
    cancelKeys: new CancelKeys(proxy.id),
    catalogOf: (database) => catalogs.of(database),
    databaseFloors: new Map(),
    version: VERSION,
    shadow: new ShadowLog(monitor, clock),
    sequenceReaders: new SequenceReaders(),
    cluster: cluster.name,
  };
  const closers = [
    () => metrics.close(),
    () => store.close(),
    () => lease.close(),
    () => monitor.close(),
    () => pools.close(),
    () => catalogs.close(),
    unfollow,
    () => auth.close(),
  ];
  return { store, gate, metrics, verifiers, auth, context, closers };
}

/** Log-ins to servers for pools, counted as they end. */
function countedLogin(metrics: MetricsRegistry): typeof loginToBackend {
  return async (target, options) => {
    try {
      const login = await loginToBackend(target, options);
      metrics.serverConnection('opened');
      return login;
    } catch (error) {
      metrics.serverConnection('failed');
      throw error;
    }
  };
}

/** What follows from each change in etcd: the monitor's targets, and the end of older terms' connections (S5). */
function followCluster(lease: LeaseView, monitor: ReplicationMonitor, pools: PoolSet): () => void {
  let targets: MonitorTargets = { term: NO_TERM, leader: null, nodes: [] };
  const look = (): void => {
    const next = monitorTargets(lease.view);
    if (!sameTargets(targets, next)) {
      targets = next;
      monitor.setTargets(next);
      pools.setPlaces(poolPlaces(next));
    }
    if (next.term !== NO_TERM) pools.endTermsBefore(next.term);
  };
  look();
  return lease.subscribe(look);
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
