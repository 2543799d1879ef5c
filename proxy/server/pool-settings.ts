import { connectionLimits, keepsAny, placingOf, poolLimits } from '../../common/config/pool-limits.ts';
import type { ProxyConfig } from '../../common/config/schema.ts';
import type { MonitorTargets } from '../../replication-monitor/types.ts';
import type { BackendPlace } from '../pool/place.ts';
import type { PoolSettings } from '../pool/pool-set.ts';
import type { BackendTls } from '../auth/types.ts';

/** What pools take from the configuration. */
export function poolSettings(proxy: ProxyConfig, tls: BackendTls): PoolSettings {
  return {
    tls,
    connections: connectionLimits(proxy),
    keepsAny: keepsAny(proxy),
    limitsOf: (database, user) => poolLimits(proxy, database, user),
    placingOf: (node) => placingOf(proxy, node),
  };
}

/** Where connections can be kept open in advance. */
export function poolPlaces(targets: MonitorTargets): BackendPlace[] {
  return targets.nodes.map(({ node, host, port }) =>
    node === targets.leader
      ? { node, host, port, role: 'leader', term: targets.term }
      : { node, host, port, role: 'follower', term: null },
  );
}
