/** Upper bounds of durations, in milliseconds: from a read in the cache to a statement that somebody forgot. */
export const DURATION_BOUNDS_MS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000,
];

/** A histogram of durations in the path of a query: an observation is a short loop and three additions. */
export class Buckets {
  readonly bounds: readonly number[];
  /** One more than bounds: what is above the last one. */
  readonly counts: Float64Array;
  count = 0;
  sumMs = 0;

  constructor(bounds: readonly number[] = DURATION_BOUNDS_MS) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(ms: number): void {
    const { bounds } = this;
    let i = 0;
    while (i < bounds.length && ms > (bounds[i] as number)) i += 1;
    (this.counts[i] as number) += 1;
    this.count += 1;
    this.sumMs += ms;
  }
}

const OCTAVES = 24;
const STEPS = 4;
/** 16 µs: what is faster counts as this fast. */
const FIRST_MS = 0.016;

/** A quantile to within a fifth, from 16 µs to some 4 minutes, in 400 bytes: for each statement its own. */
export class Quantiles {
  readonly #counts = new Uint32Array(OCTAVES * STEPS);
  #total = 0;

  observe(ms: number): void {
    const at = ms <= FIRST_MS ? 0 : Math.floor(Math.log2(ms / FIRST_MS) * STEPS) + 1;
    (this.#counts[Math.min(at, OCTAVES * STEPS - 1)] as number) += 1;
    this.#total += 1;
  }

  /** The upper end of the bucket in which the quantile is; 0 where nothing was observed. */
  quantileMs(q: number): number {
    const wanted = Math.ceil(this.#total * q);
    let seen = 0;
    for (let i = 0; i < this.#counts.length; i += 1) {
      seen += this.#counts[i] as number;
      if (seen >= wanted && seen > 0) return FIRST_MS * 2 ** (i / STEPS);
    }
    return 0;
  }
}
