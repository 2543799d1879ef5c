import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';

/** What BackendKeyData tells a client and a CancelRequest brings back. */
export interface CancelKey {
  readonly processId: number;
  readonly secretKey: Buffer;
}

/** Carries a cancel request out; calls `done` once, when whatever it hits has been hit. */
export type CancelTarget = (done: () => void) => void;

/**
 * A process id of 31 bits: which proxy gave it, and a number that is drawn at random. Servers number their processes below
 * 2^22 (pid_max of Linux): there, in session pooling, the client has its server's number, and the secret's first byte names the proxy.
 */
const SERIAL_BITS = 19;
const SERIALS = 2 ** SERIAL_BITS;
const SERVER_IDS = 2 ** 22;
const FIRST_TAG = SERVER_IDS / SERIALS;
const TAGS = 2 ** (31 - SERIAL_BITS) - FIRST_TAG;
/** As many as PostgreSQL 18 gives; protocol 3.0 has room for 4. */
const LONG_KEY_BYTES = 32;
const SHORT_KEY_BYTES = 4;

interface Given {
  readonly secretKey: Buffer;
  readonly target: CancelTarget;
}

/**
 * The cancel keys that this proxy gave to its clients. What is not the proxy's short hash is random; by the hash a proxy
 * which did not give a key (a load balancer chose it) can tell who did.
 */
export class CancelKeys {
  readonly #hash: number;
  readonly #given = new Map<number, Given[]>();

  constructor(proxyId: string) {
    this.#hash = hashOf(proxyId);
  }

  /**
   * The caller takes it back with `revoke`. `serverId`: the process id to give, of a server's process; several clients may have
   * the same, on different servers.
   */
  give(protocolMinor: 0 | 2, target: CancelTarget, serverId?: number): CancelKey {
    const processId = serverId ?? this.#draw();
    const secretKey = randomBytes(protocolMinor === 2 ? LONG_KEY_BYTES : SHORT_KEY_BYTES);
    if (processId < SERVER_IDS) secretKey[0] = this.#hash & 0xff;
    const others = this.#given.get(processId) ?? [];
    this.#given.set(processId, [...others, { secretKey, target }]);
    return { processId, secretKey };
  }

  /** The very key that was given, not a copy. */
  revoke(key: CancelKey): void {
    const left = (this.#given.get(key.processId) ?? []).filter(({ secretKey }) => secretKey !== key.secretKey);
    if (left.length > 0) this.#given.set(key.processId, left);
    else this.#given.delete(key.processId);
  }

  /** Null: not given here, or the secret is another one. */
  find({ processId, secretKey }: CancelKey): CancelTarget | null {
    for (const given of this.#given.get(processId) ?? []) {
      if (given.secretKey.length === secretKey.length && timingSafeEqual(given.secretKey, secretKey))
        return given.target;
    }
    return null;
  }

  /** Half of the numbers are always free: proxy.maxClients is bounded. */
  #draw(): number {
    const first = (FIRST_TAG + (this.#hash % TAGS)) * SERIALS;
    for (;;) {
      const processId = first + randomInt(1, SERIALS);
      if (!this.#given.has(processId)) return processId;
    }
  }
}

/** Whether a proxy may have given this key, as far as its hash tells: of those that collide, each is asked. */
export function mayHaveGiven(proxyId: string, { processId, secretKey }: CancelKey): boolean {
  const hash = hashOf(proxyId);
  if (processId < SERVER_IDS) return secretKey[0] === (hash & 0xff);
  return Math.floor(processId / SERIALS) === FIRST_TAG + (hash % TAGS);
}

function hashOf(proxyId: string): number {
  return createHash('sha256').update(proxyId).digest().readUInt32BE();
}
