import type { AdminProviders, BalanceRow, ClientRow, PoolRow, ProxyStatus } from '../admin/types.ts';
import type { PoolSet } from '../pool/pool-set.ts';
import type { Pool } from '../pool/pool.ts';
import { Home } from '../session/home.ts';
import { Session } from '../session/session.ts';
import type { SessionContext } from '../session/context.ts';

export interface ProviderOptions {
  readonly context: SessionContext;
  readonly pools: PoolSet;
  readonly sessions: ReadonlySet<Session>;
  readonly cluster: string;
  readonly clients: () => number;
  readonly draining: () => boolean;
}

/** What console, HTTP API and metrics ask of the running proxy. */
export function createProviders(options: ProviderOptions): AdminProviders {
  return {
    pools: () => [...options.pools.all()].map((pool) => poolRow(pool, options.context.clock.nowMs())),
    balance: () => balanceRows(options),
    clients: () => [...options.sessions].map((session) => clientRow(session)),
    shadow: () => options.context.shadow.rows,
    status: () => statusOf(options),
  };
}

function statusOf(options: ProviderOptions): ProxyStatus {
  const { context, cluster } = options;
  const { lease, monitor, gate, clock, config, classifier } = context;
  let heldSinceMs: number | null = null;
  for (const { waitingFor, waitingSinceMs } of options.sessions) {
    if (waitingFor === 'leader') heldSinceMs = Math.min(heldSinceMs ?? Infinity, waitingSinceMs);
  }
  return {
    proxyId: config.id,
    cluster,
    view: lease.view,
    freshness: monitor.snapshot,
    leader: lease.leader(),
    nowMs: clock.nowMs(),
    heldWrites: gate.held,
    heldSinceMs,
    inFlight: gate.inFlight,
    clients: options.clients(),
    maxClients: config.maxClients,
    classifier: classifier.stats,
    draining: options.draining(),
  };
}

function balanceRows({ context, pools }: ProviderOptions): BalanceRow[] {
  const nowMs = context.clock.nowMs();
  return [...context.monitor.snapshot.nodes.keys()].map((node) => {
    const load = pools.loadOf(node);
    return {
      node,
      weight: load.weight,
      own_zone: !load.foreign,
      sv_active: load.busy,
      cl_waiting: load.waiting,
      latency_ms: load.latencyAtMs === 0 ? null : load.latencyMs,
      set_aside_ms: Math.max(0, Math.round(load.ejectedUntilMs - nowMs)),
    };
  });
}

function poolRow(pool: Pool, nowMs: number): PoolRow {
  const { place, user, database } = pool.options;
  const { stock, queue, limits } = pool;
  let clients = 0;
  let pinned = 0;
  for (const { user: holder } of stock.all) {
    if (!(holder instanceof Session || holder instanceof Home)) continue;
    clients += 1;
    if (holder instanceof Home || holder.keeps.length > 0) pinned += 1;
  }
  return {
    database,
    user,
    node: place.node,
    role: place.role,
    cl_active: clients,
    cl_waiting: queue.size,
    sv_active: stock.busy,
    sv_idle: stock.idle,
    sv_login: pool.opening,
    sv_pinned: pinned,
    maxwait_ms: Math.round(Math.max(0, nowMs - queue.sinceMs)),
    pool_size: limits.size,
    min_pool_size: limits.minSize,
    reserve_pool: limits.reserveSize,
    sv_closing: stock.leaving,
    paused: pool.paused,
  };
}

function clientRow(session: Session): ClientRow {
  const { client, socket, context, waitingFor } = session;
  return {
    id: session.processId,
    user: client.user,
    database: client.database,
    state: stateOf(session),
    addr: socket.remoteAddress ?? '',
    port: socket.remotePort ?? 0,
    application_name: session.told.get('application_name') ?? '',
    connect_time: session.startedAt.toISOString(),
    request_time: session.requestAt?.toISOString() ?? null,
    wait_ms: waitingFor === null ? 0 : Math.round(context.clock.nowMs() - session.waitingSinceMs),
    node: (session.backend ?? session.home.parked)?.place.node ?? null,
    pins: session.keeps,
    prepared_statements: session.statements.named.size,
    tls: 'encrypted' in socket,
  };
}

function stateOf(session: Session): ClientRow['state'] {
  if (session.waitingFor === 'leader') return 'held';
  if (session.waitingFor === 'connection') return 'waiting';
  if (session.phase !== 'idle' && session.phase !== 'gathering') return 'active';
  return session.transaction.kind === 'idle' ? 'idle' : 'in_transaction';
}
