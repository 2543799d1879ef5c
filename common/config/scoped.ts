import type { ProxyConfig, ScopeConfig } from './schema.ts';

/** What holds for the sessions of one user in one database. */
export interface ScopedConfig {
  readonly consistency: ProxyConfig['routing']['consistency'];
  readonly maxStalenessMs: number;
  readonly causalWaitMs: number;
  readonly settleWaitMs: number;
  /** Negative: none is logged. */
  readonly slowQueryMs: number;
  readonly poolMode: ProxyConfig['pool']['mode'];
  readonly timeouts: SessionTimeouts;
  readonly shadow: boolean;
}

/** 0: none. */
export type SessionTimeouts = Omit<ProxyConfig['timeouts'], 'clientLoginTimeoutMs'>;

/** The user's setting, else the database's, else the one for all. */
export function scopedConfig(proxy: ProxyConfig, database: string, user: string): ScopedConfig {
  const { routing, pool } = proxy;
  const ofUser = own(proxy.users, user);
  const ofDatabase = own(proxy.databases, database);
  return {
    consistency: ofUser?.consistency ?? ofDatabase?.consistency ?? routing.consistency,
    maxStalenessMs: ofUser?.maxStalenessMs ?? ofDatabase?.maxStalenessMs ?? routing.maxStalenessMs,
    causalWaitMs: ofUser?.causalWaitMs ?? ofDatabase?.causalWaitMs ?? routing.causalWaitMs,
    settleWaitMs: ofUser?.settleWaitMs ?? ofDatabase?.settleWaitMs ?? routing.settleWaitMs,
    slowQueryMs: ofUser?.slowQueryMs ?? ofDatabase?.slowQueryMs ?? proxy.log.slowQueryMs,
    poolMode: ofUser?.poolMode ?? ofDatabase?.poolMode ?? pool.mode,
    shadow: ofUser?.shadow ?? ofDatabase?.shadow ?? routing.shadow,
    timeouts: timeoutsOf(proxy, ofDatabase, ofUser),
  };
}

function timeoutsOf(
  { timeouts }: ProxyConfig,
  ofDatabase: ScopeConfig | undefined,
  ofUser: ScopeConfig | undefined,
): SessionTimeouts {
  const pick = (name: keyof SessionTimeouts): number => ofUser?.[name] ?? ofDatabase?.[name] ?? timeouts[name];
  return {
    queryTimeoutMs: pick('queryTimeoutMs'),
    transactionTimeoutMs: pick('transactionTimeoutMs'),
    idleTransactionTimeoutMs: pick('idleTransactionTimeoutMs'),
    clientIdleTimeoutMs: pick('clientIdleTimeoutMs'),
  };
}

/** A role may be called `constructor`. */
export function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
