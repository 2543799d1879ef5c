import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeRecord, switchoverRecord } from '../../election/store/records.ts';
import { sendSignal } from '../../election/postgres/processes.ts';
import type { Random } from '../simulation/random.ts';
import { ETCDS, KEYS, NODES, PROXIES, type TortureCluster } from './cluster.ts';
import type { Heal } from './network.ts';
import type { NodeProcesses } from './node-processes.ts';
import type { Direction, FaultName, NodeRole } from './plan.ts';

/** What a fault does to the cluster; resolves, once it has struck, to what ends it. `target` is as in the plan. */
export type Strike = (cluster: TortureCluster, target: string, random: Random) => Promise<Heal>;

/** Until then some commits wait for followers that confirm nothing. */
const WAITING_MS = 150;

const nothing: Heal = async () => {};

export const STRIKES: Readonly<Record<FaultName, Strike>> = {
  'kill-postmaster': once((node) => signal(node.postmaster, 'SIGKILL')),
  'kill-backend': once((node, random) => {
    const { clientBackends } = node;
    signal(clientBackends[random.below(clientBackends.length)] ?? null, 'SIGKILL');
  }),
  'kill-watchdog': once((node) => signal(node.watchdog, 'SIGKILL')),
  'kill-agent': async (cluster, target) => {
    const { agent } = nodeOf(cluster, target);
    agent.holdDown();
    return async () => agent.release();
  },
  'kill-node': async (cluster, target) => down(nodeOf(cluster, target)),
  'kill-followers': async (cluster) =>
    all([down(nodeOf(cluster, 'follower')), down(nodeOf(cluster, 'other-follower'))]),
  'kill-all': async (cluster, target, random) => {
    const parts = [...cluster.nodes.values()].map((node) => down(node));
    if (target === 'everything') parts.push(...ETCDS.map((name) => killEtcd(cluster, name)));
    return inAnyOrder(parts, random);
  },
  'kill-proxy': async ({ proxies }, target) => {
    const proxy = proxies.get(target);
    proxy?.holdDown();
    return async () => proxy?.release();
  },
  'pause-agent': paused((node) => [node.agent.pid]),
  'pause-watchdog': paused((node) => [node.watchdog]),
  'pause-guards': paused((node) => [node.watchdog, node.agent.pid]),
  'pause-postmaster': paused((node) => [node.postmaster]),
  'pause-walreceiver': paused((node) => [node.walReceiver]),
  'pause-postgres': paused((node) => node.servers),
  'break-waits': async (cluster, target) => {
    const leader = nodeOf(cluster, 'leader');
    const heal = pause(NODES.map((name) => cluster.node(name).walReceiver));
    await sleep(WAITING_MS);
    if (target === 'SIGKILL') signal(leader.postmaster, target);
    else for (const pid of leader.clientBackends) sendSignal(pid, target as NodeJS.Signals);
    return heal;
  },
  'fill-disk': async ({ disks, observer }, target) => disks.fill(roleOf(observer.leader, target as NodeRole)),
  'pause-node': async (cluster, target) => {
    const stopped = nodeOf(cluster, target).stopAll();
    return async () => resume(stopped);
  },
  'pause-proxy': async ({ proxies }, target) => pause([proxies.get(target)?.pid ?? null]),
  'kill-etcd': async (cluster, target) => killEtcd(cluster, await etcdOf(cluster, target)),
  'pause-etcd': async (cluster, target) => pauseEtcd(cluster, await etcdOf(cluster, target)),
  'etcd-majority': async (cluster, target) => {
    const leader = await etcdOf(cluster, 'etcd-leader');
    const two = [leader, ETCDS.find((name) => name !== leader) as string];
    return all(two.map((name) => (target === 'kill' ? killEtcd(cluster, name) : pauseEtcd(cluster, name))));
  },
  'etcd-compact': async ({ admin }) => {
    await admin.compact();
    return nothing;
  },
  'revoke-lease': async ({ admin }) => {
    await admin.revokeLeaseOf(KEYS.leader);
    return nothing;
  },
  'delete-leader-key': async ({ admin }) => {
    await admin.delete(KEYS.leader);
    return nothing;
  },
  'overwrite-leader-key': async ({ admin, observer, network }, target) => {
    const present = observer.view?.leader?.record;
    const node = target === 'leader' ? (present?.node ?? NODES[0]) : roleOf(observer.leader, 'follower');
    const address = { host: network.address(node), port: network.port(node, 'postgres') };
    const value = { node, term: String(observer.term), bootId: randomUUID(), address };
    await admin.put(KEYS.leader, target === 'nonsense' ? 'what is this?' : JSON.stringify(value));
    return nothing;
  },
  switchover: async ({ admin, observer }, target) => {
    const to = target === 'any' ? null : roleOf(observer.leader, target as NodeRole);
    const request = { id: randomUUID(), to, requestedAt: new Date().toISOString() };
    await admin.put(KEYS.switchover, encodeRecord(switchoverRecord, request));
    return nothing;
  },
  failover: async (cluster, target) => {
    await cluster.askAgent(roleOf(cluster.observer.leader, target as NodeRole), '/failover').catch(() => null);
    return nothing;
  },
  'cut-from-etcd': (cluster, target) => cutNode(cluster, target, ETCDS),
  'cut-from-peers': (cluster, target) => cutNode(cluster, target, NODES),
  'cut-from-proxies': (cluster, target) => cutNode(cluster, target, PROXIES),
  'isolate-node': (cluster, target) => cutNode(cluster, target, [...ETCDS, ...NODES, ...PROXIES]),
  'lossy-node': async (cluster, target) => {
    const node = roleOf(cluster.observer.leader, target as NodeRole);
    return cut(cluster, node, 'both', [...ETCDS, ...NODES, ...PROXIES], 0.25);
  },
  'cut-proxy-from-etcd': async (cluster, target) => {
    const [proxy, direction] = target.split(' ') as [string, Direction];
    return cut(cluster, proxy, direction, ETCDS);
  },
  'cut-etcd-member': async (cluster, target) => {
    const [name, direction] = target.split(' ') as [string, Direction];
    return cut(cluster, await etcdOf(cluster, name), direction, ETCDS);
  },
};

/** Who has the role now. Without a leader the first node passes for it. */
function roleOf(leader: string | null, role: NodeRole): string {
  const first = leader ?? NODES[0];
  const followers = NODES.filter((node) => node !== first);
  return role === 'leader' ? first : (followers[role === 'follower' ? 0 : 1] as string);
}

function nodeOf(cluster: TortureCluster, role: string): NodeProcesses {
  return cluster.node(roleOf(cluster.observer.leader, role as NodeRole));
}

async function etcdOf({ admin }: TortureCluster, target: string): Promise<string> {
  return target === 'etcd-leader' ? ((await admin.leader()) ?? ETCDS[0]) : target;
}

function once(act: (node: NodeProcesses, random: Random) => void): Strike {
  return async (cluster, target, random) => {
    act(nodeOf(cluster, target), random);
    return nothing;
  };
}

function paused(who: (node: NodeProcesses) => (number | null)[]): Strike {
  return async (cluster, target) => pause(who(nodeOf(cluster, target)));
}

function pause(pids: readonly (number | null)[]): Heal {
  const there = pids.filter((pid) => pid !== null);
  for (const pid of there) sendSignal(pid, 'SIGSTOP');
  return async () => resume(there);
}

function resume(pids: readonly number[]): void {
  for (const pid of pids) sendSignal(pid, 'SIGCONT');
}

function signal(pid: number | null, name: NodeJS.Signals): void {
  if (pid !== null) sendSignal(pid, name);
}

function down(node: NodeProcesses): Heal {
  node.killAll();
  return async () => node.agent.release();
}

function killEtcd({ etcds }: TortureCluster, name: string): Heal {
  const etcd = etcds.get(name);
  etcd?.holdDown();
  return async () => etcd?.release();
}

function pauseEtcd({ etcds }: TortureCluster, name: string): Heal {
  return pause([etcds.get(name)?.pid ?? null]);
}

function cutNode(cluster: TortureCluster, target: string, others: readonly string[]): Promise<Heal> {
  const [role, direction] = target.split(' ') as [NodeRole, Direction];
  return cut(cluster, roleOf(cluster.observer.leader, role), direction, others);
}

async function cut(
  { network }: TortureCluster,
  host: string,
  direction: Direction,
  others: readonly string[],
  fraction = 1,
): Promise<Heal> {
  const heals: Heal[] = [];
  for (const other of others.filter((each) => each !== host)) {
    if (direction !== 'out') heals.push(await network.drop(other, host, fraction));
    if (direction !== 'in') heals.push(await network.drop(host, other, fraction));
  }
  return all(heals);
}

/** As machines come back after a power cut. */
function inAnyOrder(heals: readonly Heal[], random: Random): Heal {
  return async () => {
    await Promise.all(
      heals.map(async (heal) => {
        await sleep(random.between(0, 2000));
        await heal();
      }),
    );
  };
}

function all(heals: readonly Heal[]): Heal {
  return async () => {
    for (const heal of heals) await heal();
  };
}
