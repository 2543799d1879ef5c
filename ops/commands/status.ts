import type { ClusterStatus } from '../api-client.ts';
import { formatBytes, formatMs, formatTable } from '../format/table.ts';
import { type ApiOptions, openApi, print } from './context.ts';

export async function statusCommand(options: ApiOptions & { readonly json?: boolean }): Promise<void> {
  const api = openApi(options);
  if (options.json) print(JSON.stringify(await api.rawStatus(), null, 2));
  else print(statusText(await api.status()));
}

/** What `leasehold status` shows. */
export function statusText(status: ClusterStatus): string {
  const { leader, route } = status;
  const writes =
    route === null
      ? 'no leader yet'
      : route.hold || !status.writable
        ? 'writes are HELD (no open leader)'
        : 'writes are open';
  const lines = [
    `cluster ${status.cluster}   term ${status.term}   leader ${leader === null ? 'none' : `${leader.node} (${leader.address})`}   ${writes}`,
    '',
    nodeTable(status),
  ];
  if (status.pause !== null) lines.splice(1, 0, pauseText(status.pause));
  const notes = status.nodes.filter((node) => node.note !== null).map((node) => `  ${node.node}: ${node.note}`);
  if (notes.length > 0) lines.push('', ...notes);
  lines.push('', proxyTable(status));
  if (status.self !== undefined) lines.push('', selfLine(status.self));
  return lines.join('\n');
}

/** What `status` and `pause` show of a pause. */
export function pauseText({ by, reason, at }: NonNullable<ClusterStatus['pause']>): string {
  const why = reason === null ? '' : ` (${reason})`;
  return `automatic failover is PAUSED by ${by} since ${at}${why}; "leasehold resume" ends it`;
}

function nodeTable(status: ClusterStatus): string {
  return formatTable(
    [
      'node',
      'address',
      'role',
      'state',
      'timeline',
      'flushed',
      'replayed',
      'lag',
      'freshness',
      'reads',
      'postgres',
      'agent',
    ],
    status.nodes.map((node) => [
      node.node,
      node.address,
      node.role,
      node.state,
      node.timeline,
      node.flushedLsn,
      node.replayedLsn,
      node.lagBytes === null ? null : formatBytes(node.lagBytes),
      node.freshnessMs === null ? null : formatMs(node.freshnessMs),
      node.role === 'follower' ? (node.usable ? 'yes' : 'no') : null,
      node.postgresPid,
      node.agentPid,
    ]),
  );
}

function selfLine(self: NonNullable<ClusterStatus['self']>): string {
  const states = [
    `${self.clients} of ${self.maxClients} clients`,
    `${self.waiting} wait for a connection`,
    ...(self.paused ? ['an operator has PAUSED a database'] : []),
    ...(self.draining ? ['it is DRAINING'] : []),
  ];
  return `${self.id} answered: ${states.join(', ')}`;
}

function proxyTable(status: ClusterStatus): string {
  return formatTable(
    ['proxy', 'address', 'state', 'held writes', 'in flight'],
    status.proxies.map((proxy) => [
      proxy.id,
      proxy.address,
      proxy.draining ? 'draining' : 'serving',
      proxy.heldWrites,
      proxy.inFlight,
    ]),
  );
}
