import type { SimContext } from './context.ts';
import type { SimNode } from './node.ts';
import { SimProcess } from './process.ts';

const QUIT_MS = 500;
const KILL_MS = 200;

/**
 * The watchdog: ends PostgreSQL at the deadline it was last fed, whatever the agent does. Without a deadline it does
 * nothing. When its agent has died it guards what ran then; the next agent has a watchdog of its own.
 */
export class Watchdog {
  readonly process = new SimProcess();
  unsoundUntilMs = 0;
  #deadlineMs: number | null = null;
  /** What the agent that lives has told it last; it may not have arrived. */
  #toldMs: number | null = null;
  /** Left by a dead agent: a life of the server and its deadline. */
  #orphan: { readonly life: number; readonly deadlineMs: number } | null = null;
  readonly #context: SimContext;
  readonly #node: SimNode;

  constructor(context: SimContext, node: SimNode) {
    this.#context = context;
    this.#node = node;
  }

  start(): void {
    if (this.process.alive) return;
    this.process.start();
    this.#check(this.process.life);
  }

  /** Started again by the agent, which tells it the deadline anew. */
  restart(): void {
    if (this.process.alive) return;
    this.#deadlineMs = this.#toldMs;
    this.start();
  }

  /** Whether nobody tampered with it in the last two lease times. */
  get wasSound(): boolean {
    return (
      !this.process.stopped && !this.#node.clock.standsStill && this.#context.scheduler.nowMs >= this.unsoundUntilMs
    );
  }

  /** Somebody tampered with it. */
  disturbed(): void {
    this.unsoundUntilMs = this.#context.scheduler.nowMs + 2 * this.#node.options.ttlMs;
  }

  agentGone(): void {
    // What was told last is in the pipe, which outlives the agent.
    const deadlineMs = this.#toldMs;
    if (deadlineMs !== null) this.#orphan = { life: this.#node.postgres.process.life, deadlineMs };
    this.#deadlineMs = null;
    this.#toldMs = null;
  }

  /** `deadlineMs` on the machine's clock. The message takes a moment. */
  feed(deadlineMs: number | null): void {
    const { life } = this.process;
    const { agent } = this.#node;
    const teller = agent.life;
    this.#toldMs = deadlineMs;
    this.#context.scheduler.after(this.#context.random.between(0, 0.5), () =>
      this.process.deliver(life, () => {
        if (agent.alive && agent.life === teller) this.#deadlineMs = deadlineMs;
      }),
    );
  }

  #check(life: number): void {
    const node = this.#node;
    const orphan = this.#orphan;
    if (this.#deadlineMs !== null) this.#enforce(this.#deadlineMs);
    if (orphan !== null && node.postgres.process.life === orphan.life) this.#enforce(orphan.deadlineMs);
    this.#context.scheduler.after(node.trueMs(20), () => this.process.deliver(life, () => this.#check(life)));
  }

  #enforce(deadlineMs: number): void {
    const { postgres, localMs } = this.#node;
    if (!postgres.running) return;
    const leftMs = deadlineMs - localMs;
    if (leftMs <= KILL_MS) postgres.die('watchdog SIGKILL');
    else if (leftMs <= QUIT_MS && postgres.process.active) postgres.die('watchdog SIGQUIT');
  }
}
