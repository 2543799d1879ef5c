import { createHash, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';

/** What BackendKeyData tells a client and a CancelRequest brings back. */
export interface CancelKey {
  readonly processId: number;
  readonly secretKey: Buffer;
}

/** Carries a cancel request out; calls `done` once, when whatever it hits has been hit. */
export type CancelTarget = (done: () => void) => void;

/** A process id is 31 bits: which proxy gave it, and a number that is drawn at random. */
const SERIAL_BITS = 19;
const TAG_BITS = 31 - SERIAL_BITS;
const SERIALS = 2 ** SERIAL_BITS;
/** As many as PostgreSQL 18 gives; protocol 3.0 has room for 4. */
const LONG_KEY_BYTES = 32;
const SHORT_KEY_BYTES = 4;

/**
 * The cancel keys that this proxy gave to its clients. The secret is random; the process id names the proxy by a
 * short hash, so that a proxy which did not give a key (a load balancer chose it) can tell who did.
 */
export class CancelKeys {
  readonly #tag: number;
  readonly #given = new Map<number, { readonly secretKey: Buffer; readonly target: CancelTarget }>();

  constructor(proxyId: string) {
    this.#tag = tagOf(proxyId);
  }

  /** The caller takes it back with `revoke`. Half of the numbers are always free: proxy.maxClients is bounded. */
  give(protocolMinor: 0 | 2, target: CancelTarget): CancelKey {
    let processId: number;
    do processId = this.#tag * SERIALS + randomInt(1, SERIALS);
    while (this.#given.has(processId));
    const secretKey = randomBytes(protocolMinor === 2 ? LONG_KEY_BYTES : SHORT_KEY_BYTES);
    this.#given.set(processId, { secretKey, target });
    return { processId, secretKey };
  }

  revoke(key: CancelKey): void {
    if (this.#given.get(key.processId)?.secretKey === key.secretKey) this.#given.delete(key.processId);
  }

  /** Null: not given here, or the secret is another one. */
  find({ processId, secretKey }: CancelKey): CancelTarget | null {
    const given = this.#given.get(processId);
    if (given === undefined || given.secretKey.length !== secretKey.length) return null;
    return timingSafeEqual(given.secretKey, secretKey) ? given.target : null;
  }
}

/** Of proxies whose ids collide here, each is asked. */
export function tagOf(proxyId: string): number {
  return createHash('sha256').update(proxyId).digest().readUInt16BE() >>> (16 - TAG_BITS);
}

/** Of the proxy that gave this process id. */
export function tagOfProcessId(processId: number): number {
  return processId >>> SERIAL_BITS;
}
