import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** Who may reach whom. A blocked direction drops what is sent into it; each direction is blocked by itself. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #blocked = new Map<string, number>();
  #delayMs: readonly [number, number] = [0.2, 1.5];

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  /** Blocks add up: a direction is open again when each block of it was taken back. */
  block(from: string, to: string): void {
    this.#blocked.set(`${from}>${to}`, (this.#blocked.get(`${from}>${to}`) ?? 0) + 1);
  }

  unblock(from: string, to: string): void {
    this.#blocked.set(`${from}>${to}`, Math.max(0, (this.#blocked.get(`${from}>${to}`) ?? 0) - 1));
  }

  open(from: string, to: string): boolean {
    return (this.#blocked.get(`${from}>${to}`) ?? 0) === 0;
  }

  bothWays(a: string, b: string): boolean {
    return this.open(a, b) && this.open(b, a);
  }

  delay(): number {
    // One message in fifty is late: order between connections is not to be relied on.
    if (this.#random.chance(0.02)) return this.#random.between(5, 60);
    return this.#random.between(this.#delayMs[0], this.#delayMs[1]);
  }

  /** Delivers after a delay unless the direction is blocked when it is sent or when it would arrive. */
  send(from: string, to: string, run: () => void): void {
    if (!this.open(from, to)) return;
    this.#scheduler.after(this.delay(), () => {
      if (this.open(from, to)) run();
    });
  }
}
