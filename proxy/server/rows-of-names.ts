import { poolLimits } from '../../common/config/pool-limits.ts';
import type { DatabaseRow, UserRow } from '../admin/types.ts';
import type { ProviderOptions } from './providers.ts';

/** Databases that somebody uses or used, or that an operator or the configuration named. */
export function databaseRows(options: ProviderOptions): DatabaseRow[] {
  const { context, pools, sessions, metrics, disabled } = options;
  const { config, live } = context;
  const servers = new Map<string, number>();
  for (const pool of pools.all()) add(servers, pool.options.database, pool.stock.all.size);
  const clients = new Map<string, number>();
  for (const { client } of sessions) add(clients, client.database, 1);
  const names = [servers, clients, metrics.recorder.totals()].flatMap((each) => [...each.keys()]);
  const all = new Set([...names, ...Object.keys(config.databases), ...disabled.names()]);
  return [...all].sort().map((name) => {
    const limits = poolLimits(config, name, '');
    const scope = live.scopeOf(name, '');
    const given = Object.hasOwn(config.databases, name) ? config.databases[name] : undefined;
    return {
      name,
      pool_size: limits.size,
      min_pool_size: limits.minSize,
      reserve_pool: limits.reserveSize,
      pool_mode: scope.poolMode,
      // 0: no bound of its own.
      max_connections: given?.maxConnections ?? 0,
      current_connections: servers.get(name) ?? 0,
      max_client_connections: given?.maxClients ?? 0,
      current_client_connections: clients.get(name) ?? 0,
      paused: pools.pauses.holds(name),
      disabled: disabled.has(name),
      consistency: scope.consistency,
    };
  });
}

export function userRows(options: ProviderOptions): UserRow[] {
  const { context, pools, sessions } = options;
  const { config } = context;
  const servers = new Map<string, number>();
  for (const pool of pools.all()) add(servers, pool.options.user, pool.stock.all.size);
  const clients = new Map<string, number>();
  for (const { client } of sessions) add(clients, client.user, 1);
  return [...new Set([...servers.keys(), ...clients.keys(), ...Object.keys(config.users)])].sort().map((name) => {
    const given = Object.hasOwn(config.users, name) ? config.users[name] : undefined;
    return {
      name,
      pool_mode: given?.poolMode ?? null,
      max_user_connections: given?.maxConnections ?? 0,
      current_connections: servers.get(name) ?? 0,
      current_client_connections: clients.get(name) ?? 0,
    };
  });
}

function add(counts: Map<string, number>, name: string, by: number): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}
