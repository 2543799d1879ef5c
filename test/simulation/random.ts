/**
 * Random numbers that depend on the seed and on nothing else: xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it/),
 * its state filled by splitmix32.
 */
export class Random {
  readonly #s: Uint32Array;

  constructor(seed: number) {
    this.#s = new Uint32Array(4);
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#s[i] = (z ^ (z >>> 15)) >>> 0;
    }
  }

  /** An integer of 32 bits. */
  next(): number {
    const s = this.#s;
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = s;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const a2 = s2 ^ s0;
    const a3 = s3 ^ s1;
    s[1] = s1 ^ a2;
    s[0] = s0 ^ a3;
    s[2] = a2 ^ (s1 << 9);
    s[3] = (a3 << 11) | (a3 >>> 21);
    return result;
  }

  /** At least 0 and below 1. */
  fraction(): number {
    return this.next() / 0x1_0000_0000;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.fraction();
  }

  /** An integer from 0 to below `n`. */
  below(n: number): number {
    return Math.floor(this.fraction() * n);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  /** A generator of its own, so that what one part draws does not shift the others. */
  fork(): Random {
    return new Random(this.next());
  }
}
