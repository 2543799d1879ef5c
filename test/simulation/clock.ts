/**
 * The clock of one machine, as its processes read it. It drifts; it may jump ahead, and it may stand still while time goes
 * on, because the machine's host paused it without telling. It never goes back, as no kernel's monotonic clock does.
 */
export class SimClock {
  readonly rate: number;
  #offsetMs: number;
  #stoppedAtMs: number | null = null;
  #stops = 0;
  readonly #trueMs: () => number;

  constructor(trueMs: () => number, rate: number, offsetMs: number) {
    this.#trueMs = trueMs;
    this.rate = rate;
    this.#offsetMs = offsetMs;
  }

  get nowMs(): number {
    return this.#stoppedAtMs ?? this.#running;
  }

  get standsStill(): boolean {
    return this.#stoppedAtMs !== null;
  }

  get #running(): number {
    return this.#offsetMs + this.#trueMs() * this.rate;
  }

  jumpAhead(ms: number): void {
    this.#offsetMs += ms;
    if (this.#stoppedAtMs !== null) this.#stoppedAtMs += ms;
  }

  /** Stops are counted. */
  stop(): void {
    this.#stops++;
    this.#stoppedAtMs ??= this.#running;
  }

  /** Goes on from where it stood: what has passed meanwhile is missing from now on. */
  resume(): void {
    this.#stops--;
    if (this.#stops > 0 || this.#stoppedAtMs === null) return;
    this.#offsetMs -= this.#running - this.#stoppedAtMs;
    this.#stoppedAtMs = null;
  }
}
