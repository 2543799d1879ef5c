import { ownBytes } from '../../common/own-bytes.ts';

/**
 * A set-associative table from byte strings to values: a key can stand in `WAYS` places only, so that a look-up
 * is bounded whatever a hostile client sends, and the least recently used of them makes room. A hit allocates nothing.
 */
export class ByteCache<V> {
  readonly #sets: number;
  readonly #maxBytes: number;
  readonly #hashes: Int32Array;
  readonly #used: Uint32Array;
  readonly #keys: (Buffer | undefined)[];
  readonly #values: (V | undefined)[];
  #clock = 0;
  #bytes = 0;
  #sweep = 0;
  #entries = 0;

  /** `entries` is rounded up to a power of two times WAYS; `maxBytes` bounds the keys' sum. */
  constructor(entries: number, maxBytes: number) {
    this.#sets = 2 ** Math.max(0, Math.ceil(Math.log2(entries / WAYS)));
    this.#maxBytes = maxBytes;
    const slots = this.#sets * WAYS;
    this.#hashes = new Int32Array(slots);
    this.#used = new Uint32Array(slots);
    this.#keys = Array.from<Buffer | undefined>({ length: slots }).fill(undefined);
    this.#values = Array.from<V | undefined>({ length: slots }).fill(undefined);
  }

  get entries(): number {
    return this.#entries;
  }

  /** `hash` is `hashBytes(bytes, length, …)`. */
  get(hash: number, bytes: Buffer, length: number): V | undefined {
    const first = (hash & (this.#sets - 1)) * WAYS;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      if (this.#hashes[slot] !== hash) continue;
      const key = this.#keys[slot];
      if (key === undefined || key.length !== length || !sameBytes(key, bytes, length)) continue;
      this.#used[slot] = this.#tick();
      return this.#values[slot];
    }
    return undefined;
  }

  /** Copies the key. Replaces an equal one. */
  set(hash: number, bytes: Buffer, length: number, value: V): void {
    const first = (hash & (this.#sets - 1)) * WAYS;
    let victim = first;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      const key = this.#keys[slot];
      if (key !== undefined && this.#hashes[slot] === hash && key.length === length && sameBytes(key, bytes, length)) {
        this.#values[slot] = value;
        this.#used[slot] = this.#tick();
        return;
      }
      if ((this.#used[slot] as number) < (this.#used[victim] as number)) victim = slot;
    }
    if (length > this.#maxBytes) return;
    this.#evict(victim);
    while (this.#bytes + length > this.#maxBytes) {
      this.#evict(this.#sweep);
      this.#sweep = (this.#sweep + 1) % this.#keys.length;
    }
    this.#hashes[victim] = hash;
    this.#keys[victim] = ownBytes(bytes, length);
    this.#values[victim] = value;
    this.#used[victim] = this.#tick();
    this.#bytes += length;
    this.#entries += 1;
  }

  #evict(slot: number): void {
    const key = this.#keys[slot];
    if (key === undefined) return;
    this.#bytes -= key.length;
    this.#entries -= 1;
    this.#keys[slot] = undefined;
    this.#values[slot] = undefined;
    this.#used[slot] = 0;
  }

  #tick(): number {
    if (this.#clock >= 0xffff_fffe) {
      // Once in four thousand million uses: forget the order, keep the entries.
      this.#clock = 1;
      this.#used.fill(1);
    }
    this.#clock += 1;
    return this.#clock;
  }
}

const WAYS = 8;

/** FNV-1a over the first `length` bytes, then mixed, because only the low bits choose the set. `seed` keys it. */
export function hashBytes(bytes: Buffer, length: number, seed: number): number {
  let hash = seed | 0;
  for (let i = 0; i < length; i += 1) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

function sameBytes(key: Buffer, bytes: Buffer, length: number): boolean {
  if (length > 96) return key.compare(bytes, 0, length) === 0;
  for (let i = 0; i < length; i += 1) if (key[i] !== bytes[i]) return false;
  return true;
}
