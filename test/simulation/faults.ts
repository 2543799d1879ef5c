import type { SimContext } from './context.ts';
import { loseSlots } from './admission.ts';
import { FAULTS, type FaultTargets, STEPS } from './fault-list.ts';
import type { SimNode } from './node.ts';
import { Operator } from './operator.ts';
import type { SimProcess } from './process.ts';
import type { RunOptions } from './world.ts';

/** Random faults, one after another and overlapping, until `healAll`. */
export class Faults {
  readonly context: SimContext;
  readonly targets: FaultTargets;
  /** What takes each fault that lasts back, and which fault it is of. */
  readonly #heals = new Map<() => void, string>();
  #current = '';
  #active = true;
  readonly #operator: Operator;
  readonly #onFault: NonNullable<RunOptions['onFault']>;
  #paused = false;
  /** The next node that comes to this step is killed there. */
  #trap: { readonly step: string; readonly kill: (node: SimNode) => void } | null = null;

  constructor(context: SimContext, targets: FaultTargets, onFault: RunOptions['onFault'] = () => {}) {
    this.#onFault = onFault;
    this.context = context;
    this.targets = targets;
    this.#operator = new Operator(context, targets.etcd);
    for (const node of targets.nodes) {
      node.onFinished = () => this.#restartLater(node, 300, 2000);
      node.onStep = (step) => this.#stepped(node, step);
    }
  }

  /** A fault every so often from `fromMs` on. */
  begin(fromMs: number, meanGapMs: number): void {
    const { scheduler, random, trace } = this.context;
    const names = Object.keys(FAULTS) as [string, ...string[]];
    const next = (): void => {
      if (!this.#active) return;
      const name = random.pick(names);
      trace.add('FAULT', name);
      this.#onFault(name, [...new Set(this.#heals.values())]);
      this.#current = name;
      FAULTS[name]?.(this);
      scheduler.after(random.between(0.05, 2) * meanGapMs, next);
    };
    scheduler.at(fromMs, next);
  }

  healAll(): void {
    this.#active = false;
    this.context.trace.add('FAULT', 'everything heals');
    for (const heal of this.#heals.keys()) heal();
    for (const node of this.targets.nodes) this.#revive(node);
  }

  #revive(node: SimNode): void {
    if (node.options.withWatchdog) node.watchdog.restart();
    node.startAgent();
  }

  #restartLater(node: SimNode, lowMs: number, highMs: number): void {
    this.lasting(this.context.random.between(lowMs, highMs), () => this.#revive(node));
  }

  /** Takes back after a while, or when everything heals. */
  lasting(durationMs: number, heal: () => void): void {
    const once = (): void => {
      if (!this.#heals.delete(once)) return;
      heal();
    };
    this.#heals.set(once, this.#current);
    this.context.scheduler.after(durationMs, once);
  }

  /** A moment, ½, 1 or 3 lease times. */
  duration(): number {
    const { random } = this.context;
    return random.pick([0.05, 0.5, 1, 3]) * this.targets.ttlMs * random.between(0.7, 1.3);
  }

  node(): SimNode {
    return this.context.random.pick(this.targets.nodes);
  }

  leader(): SimNode | null {
    return this.targets.nodes.find((n) => n.postgres.acceptsWrites) ?? null;
  }

  /** The leader more often than not: there it hurts. */
  someNode(): SimNode {
    return (this.context.random.chance(0.5) ? this.leader() : null) ?? this.node();
  }

  killAgent(node: SimNode): void {
    node.killAgent('kill -9');
    this.#restartLater(node, 200, 4000);
  }

  /** Nobody starts it again for a while; its PostgreSQL goes on, if it follows. */
  loseAgent(node: SimNode): void {
    node.killAgent('kill -9');
    this.#restartLater(node, 10_000, 40_000);
  }

  killBoth(node: SimNode): void {
    node.postgres.die('kill -9');
    this.killAgent(node);
  }

  killMachine(node: SimNode): void {
    this.#powerOff(node, 500, 12_000);
  }

  #powerOff(node: SimNode, lowMs: number, highMs: number): void {
    node.watchdog.disturbed();
    node.watchdog.process.kill();
    node.postgres.die('power');
    node.killAgent('power');
    this.#restartLater(node, lowMs, highMs);
  }

  /**
   * The followers' machines are lost, then the leader's, for longer than the others: nobody may be promoted. Sometimes the
   * leader has gone on alone before. An operator then names whom they see, until somebody leads.
   */
  loseQuorum(): void {
    const { random, scheduler } = this.context;
    const leader = this.leader();
    if (leader === null) return;
    const others = this.targets.nodes.filter((node) => node !== leader);
    const lost = random.chance(0.5) ? others : others.slice(1);
    for (const node of lost) this.#powerOff(node, 3000, 14_000);
    this.lasting(random.between(100, 6000), () => {
      if (!this.#active) return;
      this.#powerOff(leader, 15_000, 40_000);
      this.#operatorForces(scheduler.nowMs + 30_000);
    });
  }

  #operatorForces(untilMs: number): void {
    const { random, scheduler } = this.context;
    scheduler.after(random.between(200, 1500), () => {
      if (!this.#active || scheduler.nowMs > untilMs) return;
      this.node().give({ type: 'command', command: 'force', by: 'operator' });
      this.#operatorForces(untilMs);
    });
  }

  /** At a named step of a promotion, a switchover, a rejoin: the server, the agent, both, or the machine. */
  killAtStep(): void {
    const { random, trace } = this.context;
    const step = random.pick(STEPS);
    const kills = [
      (node: SimNode) => node.postgres.die(`kill -9 at ${step}`),
      (node: SimNode) => this.killAgent(node),
      (node: SimNode) => this.killBoth(node),
      (node: SimNode) => this.killMachine(node),
    ] as const;
    trace.add('FAULT', `a trap at ${step}`);
    this.#trap = { step, kill: random.pick(kills) };
    if (step.startsWith('DRAINING')) this.switchover();
    else if (random.chance(0.5)) this.leader()?.postgres.die('kill -9');
  }

  #stepped(node: SimNode, step: string): void {
    if (this.#trap?.step !== step || !this.#active) return;
    const { kill } = this.#trap;
    this.#trap = null;
    const { random, scheduler } = this.context;
    scheduler.after(random.between(0, 15), () => {
      if (this.#active) kill(node);
    });
  }

  /** More WAL than a leader keeps for a follower that is away: its slot can be used no more. */
  loseSlot(): void {
    const leader = this.leader();
    if (leader !== null) loseSlots(leader.postgres);
  }

  killWatchdog(node: SimNode): void {
    node.watchdog.disturbed();
    node.watchdog.process.kill();
    // Its agent notices and starts another.
    this.lasting(this.context.random.between(100, 400), () => {
      if (node.options.withWatchdog) node.watchdog.restart();
    });
  }

  stop(processes: readonly SimProcess[], after: () => void = () => {}): void {
    for (const process of processes) process.stop();
    this.lasting(this.duration(), () => {
      after();
      // Which of them the kernel runs first is anybody's guess.
      const order = this.context.random.chance(0.5) ? processes : [...processes].reverse();
      for (const process of order) process.resume();
    });
  }

  /** PostgreSQL goes on, and nobody ends it: only the pledges keep it from acknowledging. */
  stopGuards(node: SimNode): void {
    node.watchdog.disturbed();
    this.stop([node.watchdog.process, node.agent], () => node.watchdog.disturbed());
  }

  stopWatchdog(node: SimNode): void {
    node.watchdog.disturbed();
    this.stop([node.watchdog.process], () => node.watchdog.disturbed());
  }

  cut(a: string, b: string): void {
    if (a === b) return;
    const { network, random } = this.context;
    const way = random.below(4);
    if (way !== 0) network.block(a, b);
    if (way !== 1) network.block(b, a);
    this.context.trace.add('FAULT', `${a} ${way !== 0 ? 'x' : '-'}> <${way !== 1 ? 'x' : '-'} ${b}`);
    this.lasting(this.duration(), () => {
      if (way !== 0) network.unblock(a, b);
      if (way !== 1) network.unblock(b, a);
      this.context.trace.add('FAULT', `${a} and ${b} see each other again`);
    });
  }

  isolate(node: SimNode): void {
    const { network } = this.context;
    const others = ['etcd', ...this.targets.nodes.filter((n) => n !== node).map((n) => n.name)];
    for (const other of others) {
      network.block(node.name, other);
      network.block(other, node.name);
    }
    this.context.trace.add('FAULT', `${node.name} is alone`);
    this.lasting(this.duration(), () => {
      for (const other of others) {
        network.unblock(node.name, other);
        network.unblock(other, node.name);
      }
      this.context.trace.add('FAULT', `${node.name} is back`);
    });
  }

  changeSettings(): void {
    const { random } = this.context;
    const syncAcks = random.pick([1, 1, 2]);
    this.#operator.settings({
      syncAcks,
      ...(random.chance(0.5) ? { withoutFollower: random.pick(['go-on', 'hold']) } : {}),
    });
  }

  /** The key goes before its holder can know: only the pledges keep it from acknowledging. */
  revokeLease(): void {
    // A paused server of an older term may look like the leader, too.
    for (const node of this.targets.nodes) if (node.postgres.acceptsWrites) node.watchdog.disturbed();
    this.#operator.revokeLease();
  }

  /** PostgreSQL ends by a PANIC when it cannot write its WAL, and does not start; the agent cannot write its state. */
  fillDisk(node: SimNode): void {
    node.diskFull = true;
    node.postgres.die('no space left on device');
    this.lasting(this.duration(), () => {
      node.diskFull = false;
    });
  }

  /** Maintenance: nobody takes over meanwhile. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#operator.pause();
    this.lasting(this.context.random.between(2000, 25_000), () => {
      this.#paused = false;
      this.context.trace.add('FAULT', 'resume');
      this.#operator.resume();
    });
  }

  /** An operator's request, sometimes while a proxy's transactions do not end. */
  switchover(): void {
    const { random } = this.context;
    this.#operator.switchover(random.chance(0.5) ? this.node().name : null);
    const [proxy] = this.targets.proxies;
    if (proxy === undefined || !random.chance(0.2)) return;
    proxy.stuck = true;
    this.lasting(random.between(1000, 8000), () => {
      proxy.stuck = false;
    });
  }
}
