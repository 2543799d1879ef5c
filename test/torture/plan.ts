import type { Random } from '../simulation/random.ts';

/** Where a fault strikes is named by role; who has that role is seen when it strikes. */
export type NodeRole = 'leader' | 'follower' | 'other-follower';

/** Which way packets are dropped, seen from the node that is named. */
export type Direction = 'both' | 'in' | 'out';

/** What not every machine lets us do: cut the network, give each node a disk of its own. */
export type Capability = 'network' | 'disks';

/** `needs`: what must be possible. `targets`: to what a fault may be done. `lasting`: in units of the lease's TTL. */
interface FaultKind {
  readonly needs: Capability | 'nothing';
  readonly targets: readonly [string, ...string[]];
  readonly lasting: readonly [number, ...number[]];
  /** How often it is drawn, against the others. */
  readonly weight: number;
}

const NODES = ['leader', 'leader', 'follower', 'other-follower'] as const;
const PROXIES = ['proxy1', 'proxy2'] as const;
const ETCDS = ['etcd-leader', 'etcd1', 'etcd2', 'etcd3'] as const;
/** Half, one and three lease times, as the design's table of faults has them. */
const PAUSES = [0.5, 1, 3] as const;
const MOMENT = [0] as const;
const CUTS = NODES.flatMap((node) => (['both', 'in', 'out'] as const).map((way) => `${node} ${way}`)) as [string];

export const FAULTS = {
  'kill-postmaster': { needs: 'nothing', targets: NODES, lasting: MOMENT, weight: 3 },
  'kill-backend': { needs: 'nothing', targets: NODES, lasting: MOMENT, weight: 2 },
  'kill-agent': { needs: 'nothing', targets: NODES, lasting: [0.1, 1, 3], weight: 3 },
  'kill-watchdog': { needs: 'nothing', targets: NODES, lasting: MOMENT, weight: 1 },
  'kill-node': { needs: 'nothing', targets: NODES, lasting: [0.2, 1, 3], weight: 3 },
  'kill-followers': { needs: 'nothing', targets: ['both'], lasting: [0.5, 1, 2], weight: 1 },
  'kill-all': { needs: 'nothing', targets: ['nodes', 'everything'], lasting: [0.1, 0.5, 1.5], weight: 2 },
  'kill-proxy': { needs: 'nothing', targets: PROXIES, lasting: [0.1, 1], weight: 2 },
  'pause-agent': { needs: 'nothing', targets: NODES, lasting: PAUSES, weight: 2 },
  'pause-watchdog': { needs: 'nothing', targets: NODES, lasting: PAUSES, weight: 1 },
  'pause-guards': { needs: 'nothing', targets: ['leader'], lasting: PAUSES, weight: 2 },
  'pause-postmaster': { needs: 'nothing', targets: NODES, lasting: PAUSES, weight: 2 },
  'pause-postgres': { needs: 'nothing', targets: NODES, lasting: PAUSES, weight: 1 },
  'pause-node': { needs: 'nothing', targets: NODES, lasting: PAUSES, weight: 3 },
  'pause-proxy': { needs: 'nothing', targets: PROXIES, lasting: PAUSES, weight: 2 },
  'pause-walreceiver': { needs: 'nothing', targets: ['follower', 'other-follower'], lasting: PAUSES, weight: 2 },
  /** No follower confirms anything, and then those who wait for it are cancelled, terminated, or crash. */
  'break-waits': {
    needs: 'nothing',
    targets: ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGKILL'],
    lasting: [0.1, 0.3],
    weight: 3,
  },
  'kill-etcd': { needs: 'nothing', targets: ETCDS, lasting: PAUSES, weight: 2 },
  'pause-etcd': { needs: 'nothing', targets: ETCDS, lasting: PAUSES, weight: 2 },
  'etcd-majority': { needs: 'nothing', targets: ['pause', 'kill'], lasting: [0.5, 1, 2], weight: 1 },
  'etcd-compact': { needs: 'nothing', targets: ['all'], lasting: MOMENT, weight: 1 },
  'revoke-lease': { needs: 'nothing', targets: ['leader'], lasting: MOMENT, weight: 1 },
  'delete-leader-key': { needs: 'nothing', targets: ['leader'], lasting: MOMENT, weight: 1 },
  'overwrite-leader-key': { needs: 'nothing', targets: ['leader', 'follower', 'nonsense'], lasting: MOMENT, weight: 1 },
  switchover: { needs: 'nothing', targets: ['any', 'follower', 'other-follower'], lasting: MOMENT, weight: 3 },
  failover: { needs: 'nothing', targets: ['leader'], lasting: MOMENT, weight: 1 },
  'fill-disk': { needs: 'disks', targets: NODES, lasting: PAUSES, weight: 2 },
  'cut-from-etcd': { needs: 'network', targets: CUTS, lasting: PAUSES, weight: 3 },
  'cut-from-peers': { needs: 'network', targets: CUTS, lasting: PAUSES, weight: 3 },
  'cut-from-proxies': { needs: 'network', targets: CUTS, lasting: PAUSES, weight: 2 },
  'isolate-node': { needs: 'network', targets: CUTS, lasting: PAUSES, weight: 3 },
  'lossy-node': { needs: 'network', targets: NODES, lasting: PAUSES, weight: 2 },
  'cut-proxy-from-etcd': {
    needs: 'network',
    targets: ['proxy1 both', 'proxy1 out', 'proxy2 both', 'proxy2 in'],
    lasting: PAUSES,
    weight: 2,
  },
  'cut-etcd-member': {
    needs: 'network',
    targets: ['etcd-leader both', 'etcd-leader in', 'etcd1 both', 'etcd2 out', 'etcd3 both'],
    lasting: PAUSES,
    weight: 2,
  },
} as const satisfies Record<string, FaultKind>;

export type FaultName = keyof typeof FAULTS;

export interface PlannedFault {
  readonly name: FaultName;
  readonly target: string;
  /** After the beginning of its round. */
  readonly afterMs: number;
  readonly lastingMs: number;
}

/** Faults that strike together or one into another; all of them end. */
export interface Round {
  readonly faults: readonly PlannedFault[];
  /** Whether the next round waits until the cluster is whole again, and how long it is then left alone. */
  readonly recovers: boolean;
  readonly restMs: number;
}

export interface PlanOptions {
  readonly ttlMs: number;
  readonly capabilities: ReadonlySet<Capability>;
  /** Only these. */
  readonly only?: readonly FaultName[];
  /** This one again and again, instead of what is drawn. */
  readonly always?: Round;
}

/** The next round. The plan of a run is the rounds drawn one after another from a generator of its own; it depends on the seed alone. */
export function drawRound(random: Random, options: PlanOptions): Round {
  if (options.always !== undefined) return options.always;
  const kinds = (Object.keys(FAULTS) as FaultName[])
    .filter((name) => isPossible(FAULTS[name].needs, options.capabilities))
    .filter((name) => options.only === undefined || options.only.includes(name));
  const lots = kinds.flatMap((name) => Array.from({ length: FAULTS[name].weight }, () => name));
  const count = random.pick([1, 1, 1, 1, 1, 2, 2, 2, 3]);
  const faults = Array.from({ length: count }, (_, index): PlannedFault => {
    const name = random.pick(lots as [FaultName]);
    const { targets, lasting }: FaultKind = FAULTS[name];
    return {
      name,
      target: random.pick(targets),
      afterMs: index === 0 ? 0 : Math.round(random.between(0, 1.2 * options.ttlMs)),
      lastingMs: Math.round(random.pick(lasting) * options.ttlMs * random.between(0.85, 1.15)),
    };
  });
  return { faults, recovers: random.chance(0.75), restMs: Math.round(random.between(200, 2500)) };
}

function isPossible(needs: FaultKind['needs'], capabilities: ReadonlySet<Capability>): boolean {
  return needs === 'nothing' || capabilities.has(needs);
}

/**
 * A round in words, to see one course of things again and again: `kill-node leader 9000, switchover any @500` is name, target,
 * how long it lasts and when it begins, both in ms and 0 by default. Throws where that is no fault.
 */
export function parseRound(text: string): Round {
  const faults = text.split(',').map((part): PlannedFault => {
    const words = part.trim().split(/\s+/);
    const afterMs = Number(words.find((word) => word.startsWith('@'))?.slice(1) ?? 0);
    const [name = '', ...rest] = words.filter((word) => !word.startsWith('@'));
    const lastingMs = /^\d+$/.test(rest.at(-1) ?? '') ? Number(rest.pop()) : 0;
    const target = rest.join(' ');
    const kind: FaultKind | undefined = FAULTS[name as FaultName];
    if (kind === undefined) throw new Error(`no such fault: ${name}; there are ${Object.keys(FAULTS).join(', ')}`);
    if (!kind.targets.includes(target))
      throw new Error(`${name}: no such target: ${target}; there are ${kind.targets.join(', ')}`);
    return { name: name as FaultName, target, afterMs, lastingMs };
  });
  return { faults, recovers: true, restMs: 1000 };
}

export function describeFault({ name, target, lastingMs }: PlannedFault): string {
  return `${name} ${target}${lastingMs === 0 ? '' : ` for ${(lastingMs / 1000).toFixed(1)} s`}`;
}
