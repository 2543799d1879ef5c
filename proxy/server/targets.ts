import { NO_TERM } from '../../common/lsn.ts';
import type { MonitorTargets } from '../../replication-monitor/types.ts';
import type { ClusterView } from '../cluster/types.ts';

/** Whom the monitor samples: the members that are known, and the route's leader even when its own record has expired. */
export function monitorTargets(view: ClusterView): MonitorTargets {
  const nodes = new Map<string, MonitorTargets['nodes'][number]>();
  for (const { node, address, state, term } of view.members.values()) {
    const follows = state === 'FOLLOWER' && term !== NO_TERM ? term : null;
    nodes.set(node, { node, host: address.host, port: address.port, follows });
  }
  const { route } = view;
  if (route !== null) {
    const { host, port } = route.address;
    nodes.set(route.leader, { node: route.leader, host, port, follows: null });
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
  const nodes = targets.nodes.map(({ node, host, port, follows }) => `${node}=${host}:${port}/${follows ?? ''}`);
  return [targets.term.toString(), targets.leader ?? '', ...nodes].join(' ');
}
