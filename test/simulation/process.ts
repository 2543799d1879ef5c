/**
 * A process that can be stopped (SIGSTOP) and killed (SIGKILL). What reaches a stopped process waits, in order, until it
 * goes on; what reaches a dead one, or was meant for an earlier life of it, is lost.
 */
export class SimProcess {
  #alive = false;
  #stopped = 0;
  #life = 0;
  #waiting: (() => void)[] = [];
  readonly #atEnd = new Set<() => void>();

  get alive(): boolean {
    return this.#alive;
  }

  get stopped(): boolean {
    return this.#stopped > 0;
  }

  /** Whether it does anything now. */
  get active(): boolean {
    return this.#alive && this.#stopped === 0;
  }

  get life(): number {
    return this.#life;
  }

  start(): void {
    this.#alive = true;
    this.#life++;
    this.#waiting = [];
  }

  kill(): void {
    this.#alive = false;
    this.#waiting = [];
    const atEnd = [...this.#atEnd];
    this.#atEnd.clear();
    for (const run of atEnd) run();
  }

  /** Runs it when this life ends. Returns how to take that back. */
  whenDead(run: () => void): () => void {
    this.#atEnd.add(run);
    return () => this.#atEnd.delete(run);
  }

  /** Stops are counted: overlapping ones end with the last. A stop may outlive a kill: it then has no effect. */
  stop(): void {
    this.#stopped++;
  }

  resume(): void {
    this.#stopped = Math.max(0, this.#stopped - 1);
    if (this.#stopped > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
  }

  /** Runs it inside the process: now, when it goes on, or never. */
  deliver(life: number, run: () => void): void {
    if (!this.#alive || life !== this.#life) return;
    if (this.#stopped > 0) this.#waiting.push(() => this.deliver(life, run));
    else run();
  }
}
