import { formatLsn, type Lsn } from '../../common/lsn.ts';
import type { MemberRecord, NodeState, PauseRecord, SettingsRecord } from '../../election/store/records.ts';
import type { NodeFreshness } from '../../replication-monitor/types.ts';
import type { ProxyStatus } from './types.ts';

/** `GET /status`, and what the page and the CLI show. Terms are numbers here: they stay far below 2^53. */
export interface StatusReport {
  readonly cluster: string;
  readonly term: number;
  /** Whom the route names. Whether writes go through now is `writable`. */
  readonly leader: { readonly node: string; readonly address: string } | null;
  readonly writable: boolean;
  readonly route: { readonly term: number; readonly hold: boolean; readonly seq: number } | null;
  /** Automatic failover is paused (`leasehold pause`): by whom, why, since when; null: it is on. */
  readonly pause: PauseRecord | null;
  /** Settings of the whole cluster (`leasehold config set`); null: each node's own file rules. */
  readonly settings: SettingsRecord | null;
  /** How long ago etcd last answered this proxy; null: never. */
  readonly etcdAnsweredMs: number | null;
  readonly nodes: readonly NodeReport[];
  readonly proxies: readonly ProxyReport[];
  /** The proxy that made this report; times and freshness are as it sees them. */
  readonly self: SelfReport;
}

export interface NodeReport {
  readonly node: string;
  readonly address: string;
  /** `none`: neither serves nor follows now (starting, cloning, rewinding, fenced, gone). */
  readonly role: 'leader' | 'follower' | 'none';
  /** The agent's state; `GONE` when its key in etcd is. */
  readonly state: NodeState | 'GONE';
  readonly timeline: number;
  readonly flushedLsn: string;
  readonly replayedLsn: string;
  readonly lagBytes: number | null;
  /** A follower shows every commit that was acknowledged through this proxy more than this ago. */
  readonly freshnessMs: number | null;
  /** Whether this proxy reads from it. */
  readonly usable: boolean;
  readonly streaming: boolean;
  readonly postgresPid: number | null;
  readonly agentPid: number | null;
  readonly postgresVersion: string | null;
  readonly apiUrl: string | null;
  /** What the node goes by, and which version of the cluster's settings it has seen; null: its agent is older, or gone. */
  readonly rules: NonNullable<MemberRecord['rules']> | null;
  /** Why it is where it is, or why it is not usable. */
  readonly note: string | null;
}

export interface ProxyReport {
  readonly id: string;
  readonly address: string;
  readonly httpUrl: string;
  readonly heldWrites: number;
  readonly inFlight: number;
  /** It takes no new clients: it is stopping, or another process took its port over. */
  readonly draining: boolean;
}

export interface SelfReport {
  readonly id: string;
  readonly heldWrites: number;
  /** How long the oldest held write has waited. */
  readonly heldForMs: number | null;
  readonly inFlight: number;
  readonly clients: number;
  readonly maxClients: number;
  /** Of the clients, those that wait for a server connection. */
  readonly waiting: number;
  /** An operator has paused some database, or all. */
  readonly paused: boolean;
  readonly draining: boolean;
}

export function buildStatus(status: ProxyStatus): StatusReport {
  const { view, freshness, nowMs } = status;
  const { route } = view;
  const names = new Set([...view.members.keys(), ...freshness.nodes.keys()]);
  return {
    cluster: status.cluster,
    term: Number(route?.term ?? 0n),
    leader: route === null ? null : { node: route.leader, address: addressOf(route.address) },
    writable: status.leader !== null,
    route: route === null ? null : { term: Number(route.term), hold: route.hold, seq: route.seq },
    pause: view.pause,
    settings: view.settings,
    etcdAnsweredMs: view.confirmedAtMs === -Infinity ? null : milliseconds(nowMs - view.confirmedAtMs),
    nodes: [...names].sort().map((name) => nodeReport(name, status)),
    proxies: proxyReports(status),
    self: {
      id: status.proxyId,
      heldWrites: status.heldWrites,
      heldForMs: status.heldSinceMs === null ? null : milliseconds(nowMs - status.heldSinceMs),
      inFlight: status.inFlight,
      clients: status.clients,
      maxClients: status.maxClients,
      waiting: status.waiting,
      paused: status.paused,
      draining: status.draining,
    },
  };
}

/** Null: ready. Else why this proxy cannot serve anything, for a person. */
export function notReadyReason(status: ProxyStatus): string | null {
  if (status.draining) return 'the proxy is stopping';
  if (status.standsAside) return 'a drill has this proxy send its clients away for a moment';
  if (status.view.confirmedAtMs === -Infinity) return 'etcd has not answered yet';
  if (status.leader !== null) return null;
  const follower = [...status.freshness.nodes.values()].some((node) => node.role === 'follower' && node.usable);
  return follower ? null : 'there is neither a leader nor a follower that may serve reads';
}

/** The states in which a server follows, or stands by to lead, with nothing missing. */
const FOLLOWING: ReadonlySet<string> = new Set<NodeState>(['FOLLOWER', 'PLEDGED', 'CANDIDATE']);

function nodeReport(name: string, status: ProxyStatus): NodeReport {
  const member = status.view.members.get(name);
  const seen = status.freshness.nodes.get(name);
  const leads = status.view.route?.leader === name;
  // Newer than what the agent last wrote to etcd, where the monitor reaches the server.
  const probed = seen !== undefined && seen.timeline > 0 ? seen : null;
  return {
    node: name,
    address: addressOf(member?.address ?? seen ?? { host: '?', port: 0 }),
    role: leads ? 'leader' : member !== undefined && FOLLOWING.has(member.state) ? 'follower' : 'none',
    state: member?.state ?? 'GONE',
    timeline: probed?.timeline ?? member?.timeline ?? 0,
    flushedLsn: formatLsn(later(probed?.flushedLsn, member?.flushedLsn)),
    replayedLsn: formatLsn(later(probed?.replayedLsn, member?.replayedLsn)),
    lagBytes: leads ? 0 : lagOf(seen),
    freshnessMs: freshnessOf(seen, status.nowMs),
    usable: seen?.usable ?? false,
    streaming: seen?.streaming ?? member?.streaming ?? false,
    postgresPid: member?.postgresPid ?? null,
    agentPid: member?.agentPid ?? null,
    postgresVersion: member?.postgresVersion ?? null,
    apiUrl: member?.apiUrl ?? null,
    rules: member?.rules ?? null,
    note: noteOf(member, seen),
  };
}

function noteOf(member: MemberRecord | undefined, seen: NodeFreshness | undefined): string | null {
  if (member === undefined) return 'its agent is not registered in etcd';
  return member.note ?? seen?.problem ?? null;
}

function later(a: Lsn | undefined, b: Lsn | undefined): Lsn {
  return a ?? b ?? (0n as Lsn);
}

function lagOf(seen: NodeFreshness | undefined): number | null {
  return seen === undefined || seen.lagBytes === null ? null : Number(seen.lagBytes);
}

/** +Infinity (the leader) is 0, -Infinity is unknown. */
function freshnessOf(seen: NodeFreshness | undefined, nowMs: number): number | null {
  if (seen === undefined || seen.freshAsOfMs === -Infinity) return null;
  return seen.freshAsOfMs === Infinity ? 0 : milliseconds(nowMs - seen.freshAsOfMs);
}

function proxyReports(status: ProxyStatus): ProxyReport[] {
  return [...status.view.proxies.values()]
    .map((proxy) => {
      const draining = proxy.draining ?? false;
      // What this proxy wrote of itself to etcd is older than what it knows.
      const { heldWrites, inFlight } = proxy.id === status.proxyId && draining === status.draining ? status : proxy;
      return {
        id: proxy.id,
        address: addressOf(proxy.address),
        httpUrl: proxy.httpUrl,
        heldWrites,
        inFlight,
        draining,
      };
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function addressOf(address: { readonly host: string; readonly port: number }): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

function milliseconds(value: number): number {
  return Math.max(0, Math.round(value * 10) / 10);
}
