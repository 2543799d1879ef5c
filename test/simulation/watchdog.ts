import type { SimContext } from './context.ts';
import type { SimNode } from './node.ts';
import { SimProcess } from './process.ts';

const QUIT_MS = 500;
const KILL_MS = 200;

/** The watchdog: ends PostgreSQL at the deadline it was last fed, whatever the agent does. Without a deadline it does nothing. */
export class Watchdog {
  readonly process = new SimProcess();
  unsoundUntilMs = 0;
  #deadlineMs: number | null = null;
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
    const deadline = this.#deadlineMs;
    this.start();
    this.#deadlineMs = deadline;
  }

  /** Whether it has been running all through the last two lease times. */
  get wasSound(): boolean {
    return this.process.active && this.#context.scheduler.nowMs >= this.unsoundUntilMs;
  }

  /** Somebody tampered with it. */
  disturbed(): void {
    this.unsoundUntilMs = this.#context.scheduler.nowMs + 2 * this.#node.options.ttlMs;
  }

  /** `deadlineMs` on the machine's clock. The message takes a moment. */
  feed(deadlineMs: number | null): void {
    const { life } = this.process;
    this.#context.scheduler.after(this.#context.random.between(0, 0.5), () =>
      this.process.deliver(life, () => {
        this.#deadlineMs = deadlineMs;
      }),
    );
  }

  #check(life: number): void {
    const node = this.#node;
    const deadline = this.#deadlineMs;
    if (deadline !== null && node.postgres.running) {
      const leftMs = deadline - node.localMs;
      if (leftMs <= KILL_MS) node.postgres.die('watchdog SIGKILL');
      else if (leftMs <= QUIT_MS && node.postgres.process.active) node.postgres.die('watchdog SIGQUIT');
    }
    this.#context.scheduler.after(node.trueMs(20), () => this.process.deliver(life, () => this.#check(life)));
  }
}
