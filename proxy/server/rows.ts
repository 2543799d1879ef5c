import type { BalanceRow, ClientRow, PoolRow, ServerRow } from '../admin/types.ts';
import type { Backend } from '../pool/backend.ts';
import type { Pool } from '../pool/pool.ts';
import { Home } from '../session/home.ts';
import { Session } from '../session/session.ts';
import type { SessionContext } from '../session/context.ts';

export function poolRow(pool: Pool, context: SessionContext, nowMs: number): PoolRow {
  const { place, user, database } = pool.options;
  const { stock, queue, limits } = pool;
  let clients = 0;
  let pinned = 0;
  let cancelled = 0;
  for (const { user: holder, cancelsUnderway } of stock.all) {
    if (cancelsUnderway > 0) cancelled += 1;
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
    sv_being_canceled: cancelled,
    sv_idle: stock.idle,
    sv_login: pool.opening,
    sv_pinned: pinned,
    maxwait_ms: Math.round(Math.max(0, nowMs - queue.sinceMs)),
    pool_size: limits.size,
    min_pool_size: limits.minSize,
    reserve_pool: limits.reserveSize,
    sv_closing: stock.leaving,
    pool_mode: context.live.scopeOf(database, user).poolMode,
    paused: pool.paused,
  };
}

export function clientRow(session: Session): ClientRow {
  const { client, socket, context, waitingFor, draining } = session;
  const backend = session.backend ?? session.home.parked;
  return {
    id: session.processId,
    user: client.user,
    database: client.database,
    state: stateOf(session),
    addr: socket.remoteAddress ?? 'unix',
    port: socket.remotePort ?? 0,
    local_addr: socket.localAddress ?? 'unix',
    local_port: socket.localPort ?? 0,
    application_name: session.told.get('application_name') ?? '',
    connect_time: session.startedAt,
    request_time: session.requestAt,
    wait_ms: waitingFor === null ? 0 : Math.round(context.clock.nowMs() - session.waitingSinceMs),
    node: backend?.place.node ?? null,
    server: backend === null ? null : keyOf(backend),
    pins: session.keeps,
    prepared_statements: session.statements.named.size,
    tls: 'encrypted' in socket ? ((socket as { getProtocol?(): string | null }).getProtocol?.() ?? 'TLS') : '',
    closing: draining !== null,
  };
}

function stateOf(session: Session): ClientRow['state'] {
  if (session.waitingFor === 'leader') return 'held';
  if (session.waitingFor === 'connection') return 'waiting';
  if (session.phase !== 'idle' && session.phase !== 'gathering') return 'active';
  return session.transaction.kind === 'idle' ? 'idle' : 'in_transaction';
}

export function serverRow(backend: Backend, pool: Pool, nowMs: number): ServerRow {
  const { place, user } = backend;
  const ageMs = nowMs - backend.createdAtMs;
  const holder = user instanceof Session ? user : null;
  const idleMs = user === null ? Math.max(0, nowMs - backend.idleSinceMs) : 0;
  const onClock = (ms: number): Date => new Date(Date.now() - Math.max(0, nowMs - ms));
  return {
    key: keyOf(backend),
    user: pool.options.user,
    database: pool.options.database,
    state: user === null ? 'idle' : 'active',
    addr: place.host,
    port: place.port,
    local_addr: '',
    local_port: 0,
    connect_time: onClock(backend.createdAtMs),
    request_time: onClock(user === null ? backend.idleSinceMs : (holder?.requestAt?.getTime() ?? backend.createdAtMs)),
    client: holder?.processId ?? null,
    closing: backend.retireAtMs <= nowMs,
    remote_pid: backend.processId,
    tls: backend.encrypted ? 'TLS' : '',
    application_name: backend.parameters.get('application_name') ?? '',
    prepared_statements: backend.statements.size,
    node: place.node,
    role: place.role,
    age_ms: ageMs,
    idle_ms: idleMs,
  };
}

export function balanceRows({ monitor, pools }: SessionContext, nowMs: number): BalanceRow[] {
  return [...monitor.snapshot.nodes.keys()].map((node) => {
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

/** Process ids are those of one node. */
function keyOf({ place, processId }: Backend): string {
  return `${place.node}:${processId}`;
}
