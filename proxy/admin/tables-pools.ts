import { ints, texts } from './columns.ts';
import type { ShowCommand } from './tables.ts';
import type { AdminProviders, ClientRow, PoolRow, ServerRow } from './types.ts';

/** By database and user, as PgBouncer has it: its exporters want one row for each pair. */
export const POOLS: ShowCommand = {
  help: 'connections of each database and user over all nodes, and who waits for one',
  columns: [
    ...texts('database', 'user'),
    ...ints('cl_active', 'cl_waiting', 'cl_active_cancel_req', 'cl_waiting_cancel_req'),
    ...ints('sv_active', 'sv_active_cancel', 'sv_being_canceled', 'sv_idle', 'sv_used', 'sv_tested', 'sv_login'),
    ...ints('maxwait', 'maxwait_us'),
    ...texts('pool_mode'),
    ...ints('sv_pinned', 'cl_held', 'pool_size', 'min_pool_size', 'reserve_pool', 'sv_closing', 'pool_nodes'),
    ...texts('paused'),
  ],
  rows: poolRows,
};

export const NODE_POOLS: ShowCommand = {
  help: 'the same by node and role: what a pool is here',
  columns: [
    ...texts('database', 'user', 'node', 'role'),
    ...ints('cl_active', 'cl_waiting', 'sv_active', 'sv_idle', 'sv_login', 'sv_pinned', 'maxwait_ms'),
    ...ints('pool_size', 'min_pool_size', 'reserve_pool', 'sv_closing'),
    ...texts('pool_mode', 'paused'),
  ],
  rows: (providers) => providers.pools().map((pool) => ({ ...pool })),
};

function poolRows(providers: AdminProviders): Record<string, unknown>[] {
  const held = new Map<string, number>();
  for (const { database, user, state } of providers.clients()) {
    const key = `${database}\0${user}`;
    if (state === 'held') held.set(key, (held.get(key) ?? 0) + 1);
  }
  const groups = new Map<string, PoolRow[]>();
  for (const pool of providers.pools()) {
    const key = `${pool.database}\0${pool.user}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [pool]);
    else group.push(pool);
  }
  return [...groups].map(([key, pools]) => {
    const sum = (field: NumberField): number => pools.reduce((total, pool) => total + pool[field], 0);
    const longestMs = Math.max(...pools.map((pool) => pool.maxwait_ms));
    const [first] = pools as [PoolRow];
    return {
      ...first,
      cl_active: sum('cl_active'),
      // Who is held waits, too; PgBouncer has no other word for it.
      cl_waiting: sum('cl_waiting') + (held.get(key) ?? 0),
      cl_active_cancel_req: 0,
      cl_waiting_cancel_req: 0,
      sv_active: sum('sv_active'),
      sv_active_cancel: 0,
      sv_being_canceled: sum('sv_being_canceled'),
      sv_idle: sum('sv_idle'),
      sv_used: 0,
      sv_tested: 0,
      sv_login: sum('sv_login'),
      maxwait: Math.floor(longestMs / 1000),
      maxwait_us: Math.floor((longestMs % 1000) * 1000),
      sv_pinned: sum('sv_pinned'),
      sv_closing: sum('sv_closing'),
      cl_held: held.get(key) ?? 0,
      pool_nodes: new Set(pools.map((pool) => pool.node)).size,
    };
  });
}

type NumberField =
  | 'cl_active'
  | 'cl_waiting'
  | 'sv_active'
  | 'sv_idle'
  | 'sv_login'
  | 'sv_pinned'
  | 'sv_being_canceled'
  | 'sv_closing';

const SOCKET_COLUMNS = [
  ...texts('type', 'user', 'database', 'state', 'addr'),
  ...ints('port'),
  ...texts('local_addr'),
  ...ints('local_port'),
  ...texts('connect_time', 'request_time'),
  ...ints('wait', 'wait_us', 'close_needed'),
  ...texts('ptr', 'link'),
  ...ints('remote_pid'),
  ...texts('tls', 'application_name'),
  ...ints('prepared_statements', 'id'),
];

export const CLIENTS: ShowCommand = {
  help: 'client connections: what each does, where, and what pins it there',
  columns: [...SOCKET_COLUMNS, ...ints('wait_ms'), ...texts('node', 'pins')],
  rows: (providers) => providers.clients().map(clientSocket),
};

export const SERVERS: ShowCommand = {
  help: 'server connections: where, for whom, how old',
  columns: [...SOCKET_COLUMNS, ...texts('node', 'role'), ...ints('age_ms', 'idle_ms')],
  rows: (providers) => providers.servers().map(serverSocket),
};

export const SOCKETS: ShowCommand = {
  help: 'client and server connections',
  columns: SOCKET_COLUMNS,
  rows: (providers) => [...providers.clients().map(clientSocket), ...providers.servers().map(serverSocket)],
};

function clientSocket(client: ClientRow): Record<string, unknown> {
  return {
    ...client,
    type: 'C',
    wait: Math.floor(client.wait_ms / 1000),
    wait_us: Math.floor((client.wait_ms % 1000) * 1000),
    close_needed: client.closing,
    ptr: `c${client.id}`,
    link: client.server === null ? '' : `s${client.server}`,
    remote_pid: 0,
    pins: client.pins.join(','),
  };
}

function serverSocket(server: ServerRow): Record<string, unknown> {
  return {
    ...server,
    type: 'S',
    wait: 0,
    wait_us: 0,
    close_needed: server.closing,
    ptr: `s${server.key}`,
    link: server.client === null ? '' : `c${server.client}`,
  };
}

export const DATABASES: ShowCommand = {
  help: 'databases that clients used or the configuration names, and where they are written',
  columns: [
    ...texts('name', 'host'),
    ...ints('port'),
    ...texts('database', 'force_user'),
    ...ints('pool_size', 'min_pool_size', 'reserve_pool'),
    ...texts('pool_mode'),
    ...ints('max_connections', 'current_connections', 'max_client_connections', 'current_client_connections'),
    ...ints('paused', 'disabled'),
    ...texts('consistency'),
  ],
  rows: (providers) => {
    const { leader } = providers.status();
    return providers.databases().map((row) => ({
      ...row,
      host: leader?.host ?? null,
      port: leader?.port ?? null,
      database: row.name,
      force_user: null,
    }));
  },
};
