import type { ProxyConfig, ScopeConfig } from './schema.ts';
import { own } from './scoped.ts';

/** What holds for one pool: the connections of one user to one database on one node in one role. */
export interface PoolLimits {
  readonly size: number;
  /** The setting that `size` comes from, for messages to people. */
  readonly sizeFrom: string;
  readonly minSize: number;
  readonly reserveSize: number;
  readonly reserveAfterMs: number;
  readonly maxWaiting: number;
  readonly waitTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs: number;
  readonly connectTimeoutMs: number;
  readonly checkAfterMs: number;
}

/** Bounds over several pools. Each holds by itself, so that the smallest counts. */
export interface ConnectionLimits {
  readonly total: number;
  readonly perNode: number;
  /** Infinity where nothing is set. */
  ofDatabase(database: string): number;
  ofUser(user: string): number;
}

/** The user's setting, else the database's, else the one for all. */
export function poolLimits(proxy: ProxyConfig, database: string, user: string): PoolLimits {
  const { pool } = proxy;
  const ofUser = own(proxy.users, user);
  const ofDatabase = own(proxy.databases, database);
  const pick = <K extends keyof ScopeConfig>(name: K): ScopeConfig[K] | undefined =>
    ofUser?.[name] ?? ofDatabase?.[name];
  return {
    size: pick('poolSize') ?? pool.size,
    sizeFrom: sizeFrom(ofUser, ofDatabase, database, user),
    minSize: Math.min(pick('minSize') ?? pool.minSize, pick('poolSize') ?? pool.size),
    reserveSize: pick('reserveSize') ?? pool.reserveSize,
    reserveAfterMs: pool.reserveAfterMs,
    maxWaiting: pool.maxWaiting,
    waitTimeoutMs: pick('waitTimeoutMs') ?? pool.waitTimeoutMs,
    idleTimeoutMs: pick('serverIdleTimeoutMs') ?? pool.idleTimeoutMs,
    maxLifetimeMs: pick('serverMaxLifetimeMs') ?? pool.maxLifetimeMs,
    connectTimeoutMs: pool.connectTimeoutMs,
    checkAfterMs: pool.checkAfterMs,
  };
}

/** Whether connections are kept open in advance for anybody at all. */
export function keepsAny(proxy: ProxyConfig): boolean {
  const scopes = [...Object.values(proxy.databases), ...Object.values(proxy.users)];
  return proxy.pool.minSize > 0 || scopes.some(({ minSize }) => (minSize ?? 0) > 0);
}

export function connectionLimits(proxy: ProxyConfig): ConnectionLimits {
  return {
    total: proxy.pool.maxConnections,
    perNode: proxy.pool.maxConnectionsPerNode,
    ofDatabase: (database) => own(proxy.databases, database)?.maxConnections ?? Infinity,
    ofUser: (user) => own(proxy.users, user)?.maxConnections ?? Infinity,
  };
}

/** Its share of the reads among equals, and whether it is in another zone. A node without a zone is in none other. */
export function placingOf(proxy: ProxyConfig, node: string): { weight: number; foreign: boolean } {
  const { weights, zones } = proxy.routing;
  const zone = own(zones, node);
  return {
    weight: own(weights, node) ?? 1,
    foreign: proxy.zone !== undefined && zone !== undefined && zone !== proxy.zone,
  };
}

function sizeFrom(
  ofUser: ScopeConfig | undefined,
  ofDatabase: ScopeConfig | undefined,
  database: string,
  user: string,
): string {
  if (ofUser?.poolSize !== undefined) return `proxy.users.${user}.poolSize`;
  if (ofDatabase?.poolSize !== undefined) return `proxy.databases.${database}.poolSize`;
  return 'proxy.pool.size';
}
