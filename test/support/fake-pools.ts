import { pino } from 'pino';
import { connectionLimits, keepsAny, placingOf, poolLimits } from '../../common/config/pool-limits.ts';
import { leaseholdConfig } from '../../common/config/schema.ts';
import type { BackendPlace } from '../../proxy/pool/place.ts';
import type { Pool } from '../../proxy/pool/pool.ts';
import { PoolSet, type PoolSettings } from '../../proxy/pool/pool-set.ts';
import { FakeServers } from './fake-servers.ts';

export const never = new AbortController().signal;

/** Pools over fake servers, on a clock that the test moves. Its timers do nothing: the test calls `tick` and `sweep`. */
export class FakePools {
  readonly servers: FakeServers;
  readonly pools: PoolSet;
  nowMs = 1_000_000;

  constructor(proxy: object, prompt = true, random: () => number = () => 0.5) {
    this.servers = new FakeServers(prompt);
    this.pools = new PoolSet({
      settings: settingsOf(proxy),
      clock: { nowMs: () => this.nowMs },
      logger: pino({ level: 'silent' }),
      login: this.servers.login,
      random,
    });
  }

  of(user = 'app', database = 'app', place: BackendPlace = follower('node1')): Pool {
    return this.pools.poolOf(place, user, database, { kind: 'password', password: 'x' });
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.pools.tick();
  }
}

export function settingsOf(proxy: object): PoolSettings {
  const config = leaseholdConfig.parse({ proxy }).proxy;
  return {
    tls: { mode: config.serverTls.mode },
    connections: connectionLimits(config),
    keepsAny: keepsAny(config),
    limitsOf: (database, user) => poolLimits(config, database, user),
    placingOf: (node) => placingOf(config, node),
  };
}

export function follower(node: string): BackendPlace {
  return { node, host: 'h', port: 1, role: 'follower', term: null };
}
