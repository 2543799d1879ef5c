import { initialState } from '../../election/core/step.ts';
import type { AgentState } from '../../election/core/state.ts';
import {
  type CoreConfig,
  EMPTY_LOCAL_STATE,
  type Input,
  type LocalState,
  type Step,
} from '../../election/core/types.ts';
import { keysOf } from '../../election/store/keys.ts';
import { SimClock } from './clock.ts';
import type { SimContext } from './context.ts';
import { Effects } from './effects.ts';
import type { EtcdClient, SimEtcd } from './etcd.ts';
import { SimPostgres } from './postgres.ts';
import { SimProcess } from './process.ts';
import { Watchdog } from './watchdog.ts';

export const CLUSTER = 'main';
const TICK_MS = 50;
const REFRESH_MS = 1000;

type Omitted<T> = T extends unknown ? Omit<T, 'nowMs' | 'random' | 'wallTime'> : never;
/** An input without what the shell stamps on it. */
export type BareInput = Omitted<Input>;

export interface NodeOptions {
  readonly name: string;
  readonly ttlMs: number;
  readonly marginMs: number;
  readonly syncAcks: number;
  readonly withoutFollower: 'go-on' | 'hold';
  readonly priority: number;
  readonly step: Step;
  /** Local milliseconds per true one. */
  readonly clockRate: number;
  readonly clockOffsetMs: number;
  readonly withWatchdog: boolean;
  /** What the wall clock says. People set it, and nothing may depend on it. */
  readonly wallTime: (trueMs: number) => string;
}

/** One machine of the cluster: agent, watchdog and PostgreSQL, each a process of its own, and one clock. */
export class SimNode {
  readonly name: string;
  readonly agent = new SimProcess();
  readonly postgres: SimPostgres;
  readonly watchdog: Watchdog;
  readonly clock: SimClock;
  readonly options: NodeOptions;
  /** Nothing can be written: neither the agent's state, nor WAL. */
  diskFull = false;
  /** What the agent has fsynced. */
  local: LocalState = EMPTY_LOCAL_STATE;
  state: AgentState | null = null;
  /** Called when the agent comes to another state or phase, with its name. */
  onStep: (step: string) => void = () => {};
  /** Called when `finished` came. */
  onFinished: (error: string | null) => void = () => {};
  readonly #context: SimContext;
  readonly #etcd: SimEtcd;
  #effects: Effects | null = null;
  #unfollow: () => void = () => {};
  #boots = 0;
  #shown = '';

  constructor(context: SimContext, etcd: SimEtcd, options: NodeOptions) {
    this.#context = context;
    this.#etcd = etcd;
    this.options = options;
    this.name = options.name;
    this.postgres = new SimPostgres(context, options.name);
    this.clock = new SimClock(() => context.scheduler.nowMs, options.clockRate, options.clockOffsetMs);
    this.watchdog = new Watchdog(context, this);
    this.postgres.onExit = () => this.give({ type: 'postgres-exit' });
  }

  /** This machine's clock, ms. */
  get localMs(): number {
    return this.clock.nowMs;
  }

  trueMs(localDuration: number): number {
    return localDuration / this.options.clockRate;
  }

  startAgent(): void {
    if (this.agent.alive) return;
    const { options } = this;
    this.agent.start();
    this.#boots++;
    if (options.withWatchdog) this.watchdog.start();
    const config: CoreConfig = {
      cluster: CLUSTER,
      node: this.name,
      address: { host: this.name, port: 5432 },
      apiUrl: `http://${this.name}:8008`,
      bootId: `${this.name}-${this.#boots}`,
      agentPid: this.#boots,
      ttlMs: options.ttlMs,
      marginMs: options.marginMs,
      syncAcks: options.syncAcks,
      withoutFollower: options.withoutFollower,
      priority: options.priority,
      noFailover: false,
    };
    this.#context.trace.add(this.name, `agent starts (${config.bootId})`);
    this.state = initialState(config, this.local);
    this.#effects = new Effects(this.#context, this.#etcd, this);
    this.#tick(this.agent.life);
    const life = this.agent.life;
    this.#unfollow = this.#etcd.follow(
      this.client(),
      keysOf(CLUSTER).prefix,
      REFRESH_MS,
      (snapshot) => this.#input({ type: 'cluster', view: this.#context.view(snapshot) }, life),
      () => this.#input({ type: 'store-unreachable' }, life),
    );
  }

  killAgent(why: string): void {
    if (!this.agent.alive) return;
    this.#context.trace.add(this.name, `agent dies: ${why}`);
    this.#unfollow();
    this.watchdog.agentGone();
    this.agent.kill();
    this.state = null;
    this.#effects = null;
  }

  /** Where it stands, for the end of a trace. */
  describe(): string {
    const { postgres, state } = this;
    const server = `${postgres.recovery ? 'follower' : 'leader'} at ${postgres.disk.timeline}, ${postgres.disk.flushed} entries`;
    const agent = this.agent.alive ? `${this.#shown}: ${state?.note ?? 'all is well'}` : 'dead';
    return `agent ${agent}; postgres ${postgres.running ? server : 'dead'}`;
  }

  /** A voice to etcd that belongs to the agent's present life. */
  client(): EtcdClient {
    const life = this.agent.life;
    return {
      name: this.name,
      deliver: (run) => this.agent.deliver(life, run),
      trueMs: (ms) => this.trueMs(ms),
    };
  }

  /** Puts an input into the agent's queue. */
  give(input: BareInput): void {
    const life = this.agent.life;
    this.#context.scheduler.after(this.#context.random.between(0, 0.4), () =>
      this.agent.deliver(life, () => this.#input(input, life)),
    );
  }

  #tick(life: number): void {
    this.#input({ type: 'tick' }, life);
    this.#context.scheduler.after(this.trueMs(this.#context.random.between(TICK_MS * 0.9, TICK_MS)), () =>
      this.agent.deliver(life, () => this.#tick(life)),
    );
  }

  #input(bare: BareInput, life: number): void {
    if (this.state === null || this.agent.life !== life || !this.agent.active) return;
    const { trace, scheduler, random } = this.#context;
    const input: Input = {
      ...bare,
      nowMs: this.localMs,
      random: random.fraction(),
      wallTime: this.options.wallTime(scheduler.nowMs),
    };
    const { state, effects } = this.options.step(this.state, input);
    this.state = state;
    const shown = 'phase' in state.mode ? `${state.mode.kind}/${String(state.mode.phase)}` : state.mode.kind;
    if (shown !== this.#shown) trace.add(this.name, `${this.#shown} -> ${shown} (${input.type})`);
    const stepped = shown !== this.#shown;
    this.#shown = shown;
    if (stepped) this.onStep(shown);
    for (const effect of effects) {
      if (effect.type === 'finished') {
        this.killAgent(`finished${effect.error === null ? '' : `: ${effect.error}`}`);
        this.onFinished(effect.error);
        return;
      }
      this.#effects?.start(effect);
    }
  }
}
