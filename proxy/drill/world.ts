import type { ConnectionOptions } from 'node:tls';
import type { DrillsConfig } from '../../common/config/drills.ts';
import type { ClusterConfig, ClusterSettings, ServiceConfig } from '../../common/config/schema.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { decodeRecord, syncRecord } from '../../election/store/records.ts';
import type { FreshnessSnapshot } from '../../replication-monitor/types.ts';
import type { ClusterActions } from '../admin/actions.ts';
import { type AgentRequest, askAgent, askPeer } from '../admin/agents.ts';
import { type ClusterContent, ClusterReader } from '../cluster/cluster-reader.ts';
import type { LeaseView } from '../cluster/types.ts';
import { Canary } from './canary.ts';
import type { DrillWorld } from './engine.ts';
import type { DrillJournal } from './journal.ts';
import { pastOf } from './journal.ts';
import { askServer } from './server-facts.ts';
import { sightingsOf } from './sightings.ts';
import type { ClientCounts, DrillFacts, DrillLimits, DrillPlan, NodeFacts, ServerFacts } from './types.ts';

export interface WorldOptions {
  readonly store: LeaseStore;
  readonly cluster: ClusterConfig;
  readonly service: ServiceConfig;
  readonly drills: DrillsConfig;
  readonly proxyId: string;
  readonly lease: LeaseView;
  readonly freshness: () => FreshnessSnapshot;
  readonly clientsPaused: () => boolean;
  readonly counts: () => ClientCounts;
  readonly serverTls: () => false | ConnectionOptions;
  readonly actions: ClusterActions;
  readonly journal: DrillJournal;
}

const CALL = { deadlineMs: 3000 };

/** The world of a drill as a proxy has it: etcd, the agents' API, the leader's catalog, what the proxy knows anyway. */
export function createWorld(options: WorldOptions, dsn: string): DrillWorld {
  const { store, cluster, lease, freshness } = options;
  return {
    nowMs: () => performance.now(),
    wallTime: () => new Date().toISOString(),
    facts: () => gatherFacts(options),
    strike: (plan) => strike(options, plan),
    lift: (plan) => lift(options, plan),
    canary: (plan) => new Canary(canaryUrls(plan, dsn, lease)),
    counts: options.counts,
    lagOf: (node) => {
      const lag = freshness().nodes.get(node)?.lagBytes ?? null;
      return lag === null ? null : Number(lag);
    },
    standing: (nodes) => standingOf(options, nodes),
    observe(signal, see) {
      const reader = new ClusterReader(keysOf(cluster.name));
      let before: ClusterContent | null = null;
      store.follow(keysOf(cluster.name).prefix, {
        refreshMs: 1000,
        signal,
        onUnreachable: () => undefined,
        onSnapshot(snapshot) {
          const after = reader.read(snapshot);
          if (before !== null) for (const one of sightingsOf(before, after)) see(one);
          before = after;
        },
      });
    },
  };
}

/** The cluster's settings are stronger than this proxy's own file. Exported for its test. */
export function limitsOf(drills: DrillsConfig, settings: ClusterSettings = {}): DrillLimits {
  return {
    ...drills,
    maxLagBytes: settings.drillMaxLagBytes ?? drills.maxLagBytes,
    window: settings.drillWindow ?? null,
  };
}

/** Everything that a plan is made from. Throws StoreError. */
export async function gatherFacts(options: WorldOptions): Promise<DrillFacts> {
  const { store, cluster, drills, lease, journal } = options;
  const keys = keysOf(cluster.name);
  const { route, members, proxies } = lease.view;
  const [{ gets }, past, asked] = await Promise.all([
    store.transact(
      {
        compare: [],
        then: [
          { type: 'get', key: keys.sync },
          { type: 'get', key: keys.pause },
        ],
      },
      CALL,
    ),
    journal.list(),
    askLeader(options),
  ]);
  const [sync, pause] = gets;
  const ruled = sync === null || sync === undefined ? null : decodeRecord(syncRecord, sync.value);
  return {
    cluster: cluster.name,
    atMs: Date.now(),
    term: Number(route?.term ?? 0n),
    leader: route?.leader ?? null,
    writable: lease.leader() !== null,
    held: route?.hold ?? false,
    maintenance: pause !== null && pause !== undefined,
    clientsPaused: options.clientsPaused(),
    nodes: [...members.keys()].sort().map((node) => nodeFacts(options, node)),
    sync: ruled === null ? null : { members: ruled.members, k: ruled.k },
    ...asked,
    proxies: [...proxies.values()].filter((proxy) => proxy.draining !== true).map((proxy) => proxy.id),
    self: options.proxyId,
    ttlMs: cluster.ttlMs,
    marginMs: cluster.marginMs,
    limits: limitsOf(drills, lease.view.settings?.settings),
    past: past.map(pastOf),
  };
}

function nodeFacts({ lease, freshness }: WorldOptions, node: string): NodeFacts {
  const member = lease.view.members.get(node);
  const seen = freshness().nodes.get(node);
  const lag = seen?.lagBytes ?? null;
  return {
    node,
    state: member?.state ?? 'GONE',
    usable: seen?.usable ?? false,
    streaming: member?.streaming ?? false,
    lagBytes: lag === null ? null : Number(lag),
    noFailover: member?.noFailover ?? false,
    priority: member?.priority ?? 0,
    rewindable: member?.rewindable ?? null,
    note: member?.note ?? seen?.problem ?? null,
  };
}

async function askLeader(options: WorldOptions): Promise<{ server: ServerFacts | null; serverProblem: string | null }> {
  const target = options.lease.leader();
  if (target === null) return { server: null, serverProblem: 'writes are not open' };
  const { service, drills } = options;
  try {
    const { host, port } = target;
    const { maxTransactionMs } = drills;
    return {
      server: await askServer({ host, port, service, tls: options.serverTls(), maxTransactionMs }),
      serverProblem: null,
    };
  } catch (error) {
    return { server: null, serverProblem: (error as Error).message };
  }
}

function standingOf({ lease, freshness }: WorldOptions, nodes: readonly string[]): ReturnType<DrillWorld['standing']> {
  const { route, members } = lease.view;
  const leader = route?.leader ?? null;
  const term = Number(route?.term ?? 0n);
  let problem: string | null = lease.leader() === null ? 'writes are not open' : null;
  for (const node of nodes) {
    if (problem !== null) break;
    const member = members.get(node);
    if (member === undefined) problem = `${node}: its agent is not in etcd`;
    else if (node === leader) problem = member.state === 'LEADER_OPEN' ? null : `${node} is ${member.state}`;
    else if (member.state !== 'FOLLOWER' || !member.streaming || member.term !== route?.term) {
      problem = `${node} is ${member.state}${member.note === null ? '' : ` (${member.note})`}`;
    } else if (freshness().nodes.get(node)?.usable !== true) {
      problem = `${node}: ${freshness().nodes.get(node)?.problem ?? 'not usable yet'}`;
    }
  }
  return { leader, term, problem };
}

async function strike(options: WorldOptions, plan: DrillPlan): Promise<void> {
  const { seconds, what } = plan;
  switch (plan.kind) {
    case 'switchover':
      await options.actions.switchover(plan.target);
      return;
    case 'crash':
      return await tell(options, plan.targets, 'crash', {});
    case 'freeze':
      return await tell(options, plan.targets, 'drill/freeze', { seconds, what });
    case 'partition':
    case 'etcd':
      return await tell(options, plan.targets, 'drill/partition', { seconds });
    case 'lag':
      return await tell(options, plan.targets, 'drill/lag', { seconds });
    case 'proxy':
      return await stepAside(options, plan.target, seconds ?? 0);
  }
}

async function lift(options: WorldOptions, plan: DrillPlan): Promise<void> {
  // Whatever is not reached here ends by its own timer.
  if (plan.kind === 'proxy') await stepAside(options, plan.target, 0).catch(() => undefined);
  else if (plan.seconds !== null) await tell(options, plan.targets, 'drill/lift', {}).catch(() => undefined);
}

/** All of them, or none: where one refuses, it is taken back from the others. */
async function tell(options: WorldOptions, nodes: readonly string[], what: AgentRequest, body: object): Promise<void> {
  const token = options.cluster.apiToken ?? null;
  const results = await Promise.allSettled(
    nodes.map((node) => {
      const member = options.lease.view.members.get(node);
      if (member === undefined) throw new LeaseholdError('DRILL', `${node}: its agent is not in etcd`);
      return askAgent(member, what, token, body);
    }),
  );
  const failure = results.find((result) => result.status === 'rejected');
  if (failure === undefined) return;
  if (what.startsWith('drill/') && what !== 'drill/lift') {
    await tell(options, nodes, 'drill/lift', {}).catch(() => undefined);
  }
  throw failure.reason;
}

async function stepAside({ lease, cluster }: WorldOptions, id: string, seconds: number): Promise<void> {
  const proxy = [...lease.view.proxies.values()].find((one) => one.id === id);
  if (proxy === undefined) throw new LeaseholdError('DRILL', `there is no proxy ${id} in etcd`);
  await askPeer(`proxy ${id}`, proxy.httpUrl, 'step-aside', cluster.apiToken ?? null, { seconds });
}

/** For a proxy's drill the canary begins at that proxy, and goes to the others when it is sent away. */
function canaryUrls(plan: DrillPlan, dsn: string, lease: LeaseView): string[] {
  if (plan.kind !== 'proxy') return [dsn];
  const proxies = [...lease.view.proxies.values()].filter((proxy) => proxy.draining !== true);
  const first = (id: string) => (id === plan.target ? 0 : 1);
  return proxies
    .sort((a, b) => first(a.id) - first(b.id))
    .map(({ address }) => {
      const url = new URL(dsn);
      url.hostname = address.host.includes(':') ? `[${address.host}]` : address.host;
      url.port = String(address.port);
      return url.href;
    });
}
