import type { LeaseholdConfig } from '../../common/config/schema.ts';
import { leaseholdConfig } from '../../common/config/schema.ts';
import type { AdminProviders, ProxyStatus } from '../admin/types.ts';
import type { MetricsRegistry } from '../admin/metrics.ts';
import type { PoolSet } from '../pool/pool-set.ts';
import type { Session } from '../session/session.ts';
import type { SessionContext } from '../session/context.ts';
import type { DisabledDatabases } from './operations.ts';
import { balanceRows, clientRow, poolRow, serverRow } from './rows.ts';
import { databaseRows, userRows } from './rows-of-names.ts';

export interface ProviderOptions {
  readonly context: SessionContext;
  readonly pools: PoolSet;
  readonly sessions: ReadonlySet<Session>;
  readonly metrics: MetricsRegistry;
  /** As the process was started. */
  readonly started: LeaseholdConfig;
  readonly disabled: DisabledDatabases;
  readonly drills: AdminProviders['drills'];
  readonly clients: () => number;
  /** Connections that are still logging in. */
  readonly arriving: () => number;
  readonly draining: () => boolean;
  readonly standsAside: () => boolean;
}

/** What console, HTTP API and metrics ask of the running proxy. */
export function createProviders(options: ProviderOptions): AdminProviders {
  const { context, metrics, pools, sessions, started } = options;
  const nowMs = (): number => context.clock.nowMs();
  return {
    pools: () => [...pools.all()].map((pool) => poolRow(pool, context, nowMs())),
    clients: () => [...sessions].map((session) => clientRow(session)),
    servers: () =>
      [...pools.all()].flatMap((pool) => [...pool.stock.all].map((each) => serverRow(each, pool, nowMs()))),
    shadow: () => context.shadow.rows,
    balance: () => balanceRows(context, nowMs()),
    databases: () => databaseRows(options),
    users: () => userRows(options),
    status: () => statusOf(options),
    drills: options.drills,
    served: (node) => metrics.served(node),
    activity: () => ({ recorder: metrics.recorder, averages: metrics.averages, nowMs: metrics.log.nowMs() }),
    config: () => ({
      current: { cluster: started.cluster, proxy: context.config, drills: started.drills },
      defaults: { cluster: DEFAULTS.cluster, proxy: DEFAULTS.proxy, drills: DEFAULTS.drills },
    }),
    memory: () => process.memoryUsage(),
  };
}

const DEFAULTS = leaseholdConfig.parse({});

function statusOf(options: ProviderOptions): ProxyStatus {
  const { context, started } = options;
  const { lease, monitor, gate, clock, config, classifier } = context;
  let heldSinceMs: number | null = null;
  let waiting = 0;
  let prepared = 0;
  for (const { waitingFor, waitingSinceMs, statements } of options.sessions) {
    if (waitingFor === 'leader') heldSinceMs = Math.min(heldSinceMs ?? Infinity, waitingSinceMs);
    if (waitingFor === 'connection') waiting += 1;
    prepared += statements.named.size;
  }
  return {
    proxyId: config.id,
    cluster: started.cluster.name,
    view: lease.view,
    freshness: monitor.snapshot,
    leader: lease.leader(),
    nowMs: clock.nowMs(),
    heldWrites: gate.held,
    heldSinceMs,
    inFlight: gate.inFlight,
    clients: options.clients(),
    arriving: options.arriving(),
    waiting,
    prepared,
    paused: options.pools.pauses.any,
    maxClients: config.maxClients,
    classifier: classifier.stats,
    draining: options.draining(),
    standsAside: options.standsAside(),
  };
}
