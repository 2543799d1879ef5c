import { type ClusterView, readClusterView } from '../../election/core/cluster-view.ts';
import { step as coreStep } from '../../election/core/step.ts';
import type { Step } from '../../election/core/types.ts';
import type { StoreSnapshot } from '../../election/store/port.ts';
import type { Door } from './admission.ts';
import { Checks } from './checks.ts';
import { Clients } from './clients.ts';
import { InvariantViolation, type SimContext } from './context.ts';
import { SimEtcd } from './etcd.ts';
import { Faults } from './faults.ts';
import { Network } from './network.ts';
import { CLUSTER, SimNode } from './node.ts';
import type { SimPostgres } from './postgres.ts';
import { SimProxy } from './proxy.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { Trace } from './trace.ts';
import type { WalEntry } from './wal.ts';

const TTL_MS = 5000;
const MARGIN_MS = 700;
/** After everything healed: a lease that must expire, a start, a promotion, and what the agents' own patience adds. */
const WRITABLE_WITHIN_MS = 20_000;
const AT_REST_WITHIN_MS = 40_000;

/** Bugs that can be planted, to see that the simulation finds them. */
export interface Planted {
  readonly step?: (step: Step) => Step;
  readonly withoutWatchdog?: boolean;
  readonly slowRecoveryMs?: number;
  /** A client whose watch was refused after a compaction hears no more. */
  readonly compactedIsForever?: boolean;
  /** Of every server's door to followers. */
  readonly door?: Partial<Pick<Door, 'always' | 'slotsAreLoose' | 'slotsStay'>>;
}

export interface RunOptions {
  readonly planted?: Planted;
  /** Virtual time during which faults happen. */
  readonly faultsForMs?: number;
  readonly traceLines?: number;
  readonly wallTime?: (trueMs: number) => string;
  /** Told of each fault, and of those that have not ended when it begins. */
  readonly onFault?: (fault: string, during: readonly string[]) => void;
}

export interface RunResult {
  readonly seed: number;
  /** The same for the same seed, options and program. */
  readonly hash: string;
  readonly violation: InvariantViolation | Error | null;
  /** The last lines of what happened. */
  readonly trace: string;
  readonly acknowledged: number;
  readonly terms: number;
  /** Terms that an operator forced. */
  readonly forced: number;
  readonly virtualMs: number;
}

/** A cluster on one seed, with everything it stands on. Nothing happens before `scheduler` is run. */
export class World implements SimContext {
  readonly random: Random;
  readonly scheduler = new Scheduler();
  readonly trace: Trace;
  readonly network: Network;
  readonly etcd: SimEtcd;
  readonly nodes = new Map<string, SimNode>();
  readonly proxies: readonly SimProxy[];
  readonly checks: Checks;
  readonly clients: Clients;
  readonly #views = new Map<number, ClusterView>();

  constructor(seed: number, options: RunOptions) {
    this.random = new Random(seed);
    this.trace = new Trace(() => this.scheduler.nowMs, options.traceLines);
    this.network = new Network(this.scheduler, this.random.fork());
    this.etcd = new SimEtcd(this);
    this.etcd.compactedIsForever = options.planted?.compactedIsForever === true;
    this.#addNodes(options);
    this.checks = new Checks(this, this.nodes);
    this.etcd.onChange = (snapshot) => this.checks.stored(snapshot);
    this.proxies = ['proxy1', 'proxy2'].map((id) => new SimProxy(this, this.etcd, id));
    this.clients = new Clients(this, this.checks, this.nodes.values());
  }

  #addNodes(options: RunOptions): void {
    const { random } = this;
    const planted = options.planted ?? {};
    const five = random.chance(0.15);
    const withoutFollower: 'hold' | 'go-on' = random.chance(0.25) ? 'hold' : 'go-on';
    this.trace.add('WORLD', `${five ? 5 : 3} nodes, without a follower: ${withoutFollower}`);
    // Mostly clocks as they are, sometimes ones that are badly wrong.
    const drift = random.pick([0.0001, 0.001, 0.01, 0.2]);
    for (const name of five ? ['a', 'b', 'c', 'd', 'e'] : ['a', 'b', 'c']) {
      const node = new SimNode(this, this.etcd, {
        name,
        ttlMs: TTL_MS,
        marginMs: MARGIN_MS,
        syncAcks: five ? 2 : 1,
        withoutFollower,
        priority: 50,
        step: (planted.step ?? ((s) => s))(coreStep),
        clockRate: 1 + random.between(-drift, drift),
        clockOffsetMs: random.between(0, 1e7),
        withWatchdog: planted.withoutWatchdog !== true,
        wallTime: options.wallTime ?? ((trueMs) => `t${trueMs.toFixed(0)}`),
      });
      Object.assign(node.postgres.door, planted.door);
      node.postgres.slowRecoveryMs = planted.slowRecoveryMs ?? 0;
      node.postgres.onOpen = (term) => this.checks.opens(name, term);
      this.nodes.set(name, node);
    }
  }

  postgres(node: string): SimPostgres {
    const found = this.nodes.get(node);
    if (found === undefined) throw new Error(`no node ${node}`);
    return found.postgres;
  }

  view(snapshot: StoreSnapshot): ClusterView {
    const known = this.#views.get(snapshot.revision);
    if (known !== undefined) return known;
    const view = readClusterView(CLUSTER, snapshot);
    if (this.#views.size > 50) this.#views.clear();
    this.#views.set(snapshot.revision, view);
    return view;
  }

  erases(node: string, entries: readonly WalEntry[], source: SimPostgres): void {
    this.checks.erases(node, entries, source);
  }

  violation(invariant: string, what: string): never {
    throw new InvariantViolation(invariant, what);
  }

  runUntil(limitMs: number, stop: () => boolean = () => false): boolean {
    while (!stop()) if (!this.scheduler.runNext(limitMs)) return stop();
    return true;
  }
}

/** One cluster through a series of faults, then healed and brought to rest. Deterministic. */
export function runSeed(seed: number, options: RunOptions = {}): RunResult {
  const world = new World(seed, options);
  let violation: Error | null = null;
  try {
    live(world, options);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    violation = error;
    world.trace.add('BROKEN', error.message);
    for (const node of world.nodes.values()) world.trace.add(node.name, `stands: ${node.describe()}`);
  }
  return {
    seed,
    hash: world.trace.hash,
    violation,
    trace: world.trace.last(options.traceLines ?? 300),
    acknowledged: world.checks.acknowledged.size,
    terms: world.checks.failovers,
    forced: world.checks.forced,
    virtualMs: world.scheduler.nowMs,
  };
}

function live(world: World, options: RunOptions): void {
  const { scheduler, random, checks, clients } = world;
  const nodes = [...world.nodes.values()] as [SimNode, ...SimNode[]];
  for (const node of nodes) scheduler.after(random.between(0, 800), () => node.startAgent());
  const targets = { nodes, etcd: world.etcd, proxies: world.proxies, ttlMs: TTL_MS };
  const faults = new Faults(world, targets, options.onFault);
  const fromMs = random.chance(0.2) ? 200 : 6000;
  faults.begin(fromMs, random.pick([1000, 3000, 8000]));
  world.runUntil(fromMs + (options.faultsForMs ?? 60_000));
  faults.healAll();
  const healedMs = scheduler.nowMs;
  if (!world.runUntil(healedMs + WRITABLE_WITHIN_MS, () => checks.lastAckMs > healedMs + 1)) {
    world.violation('I5', `nothing was acknowledged within ${WRITABLE_WITHIN_MS} ms after everything healed`);
  }
  let differences = ['not looked at yet'];
  while (differences.length > 0) {
    if (scheduler.nowMs > healedMs + AT_REST_WITHIN_MS) world.violation('I6', differences.join('; '));
    world.runUntil(scheduler.nowMs + 2000);
    clients.writing = false;
    world.runUntil(scheduler.nowMs + 1000);
    differences = checks.differences();
    clients.writing = differences.length > 0;
  }
  const leader = nodes.find((n) => n.postgres.acceptsWrites);
  if (leader !== undefined) checks.holdsEverything(leader.name);
}
