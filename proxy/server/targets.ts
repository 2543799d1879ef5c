import { NO_TERM } from '../../common/lsn.ts';
import type { MonitorTargets } from '../../replication-monitor/types.ts';
import type { ClusterView } from '../cluster/types.ts';

/** Whom the monitor samples: the members that are known, and the route's leader even when its own record has expired. */
export function monitorTargets(view: ClusterView): MonitorTargets {
  const nodes = new Map<string, MonitorTargets['nodes'][number]>();
  for (const { node, address } of view.members.values()) {
    nodes.set(node, { node, host: address.host, port: address.port });
  }
  const { route } = view;
  if (route !== null) {
    nodes.set(route.leader, { node: route.leader, host: route.address.host, port: route.address.port });
  }
  return {
    term: route?.term ?? NO_TERM,
    leader: route?.leader ?? null,
    nodes: [...nodes.values()].sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

/** Equal targets need not be set again. */
export function sameTargets(a: MonitorTargets, b: MonitorTargets): boolean {
  return textOf(a) === textOf(b);
}

function textOf(targets: MonitorTargets): string {
  const nodes = targets.nodes.map(({ node, host, port }) => `${node}=${host}:${port}`);
  return [targets.term.toString(), targets.leader ?? '', ...nodes].join(' ');
}
