import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../common/logger.ts';
import type { ProxyRecord } from '../../election/store/records.ts';
import { type CancelKey, type CancelKeys, mayHaveGiven } from '../auth/cancel-keys.ts';
import { sendCancelRequest } from '../pool/cancel.ts';

export interface CancelRouterOptions {
  readonly proxyId: string;
  readonly keys: CancelKeys;
  /** Those registered in etcd. */
  readonly proxies: () => ReadonlyMap<string, ProxyRecord>;
  readonly logger: Logger;
  /** How long the answer to a wrong key takes. */
  readonly wrongKeyMs?: number;
}

/** Stands after the secret of a request that a proxy passed on: whoever gets it passes it on to nobody. */
const PASSED_ON = Buffer.from('leasehold:passed-on');
/** Proxies whose ids have the same hash in a key; more than two is a rare accident. */
const MAX_NAMESAKES = 3;
/** Requests that are being passed on at once; a stranger can send any number of them. */
const MAX_UNDERWAY = 100;
/** Connections of strangers are bounded: with this, so are guesses in a second. */
const WRONG_KEY_MS = 1_000;

/**
 * Brings a cancel request to the proxy that gave its key: here, or, where a load balancer chose another proxy than the
 * session has, there. One hop at most, and only to the proxies whose hash the key carries.
 */
export class CancelRouter {
  readonly #options: CancelRouterOptions;
  #underway = 0;

  constructor(options: CancelRouterOptions) {
    this.#options = options;
  }

  /** Resolves when the request has had its effect; a wrong key has none, and takes a while, so that guessing does. Never rejects. */
  async route(request: CancelKey): Promise<void> {
    const { keys, logger } = this.#options;
    const { key, passedOn } = received(request);
    const target = keys.find(key);
    if (target !== null) return new Promise((resolve) => target(resolve));
    const others = passedOn ? [] : this.#candidates(key);
    if (others.length === 0 || this.#underway >= MAX_UNDERWAY) {
      logger.debug({ event: 'cancel.dropped', candidates: others.length }, 'a cancel request fits no session');
      await sleep(this.#options.wrongKeyMs ?? WRONG_KEY_MS, undefined, { ref: false });
      return;
    }
    this.#underway += 1;
    try {
      await Promise.all(others.map((other) => passOn(other, key)));
    } finally {
      this.#underway -= 1;
    }
  }

  #candidates(key: CancelKey): ProxyRecord[] {
    const { proxies, proxyId } = this.#options;
    // Two processes have one id while one takes the other's port over: the old one says where it still listens.
    const isOther = ({ id, cancelAddress }: ProxyRecord): boolean => id !== proxyId || cancelAddress !== undefined;
    const others = [...proxies().values()].filter((proxy) => isOther(proxy) && mayHaveGiven(proxy.id, key));
    return others.slice(0, MAX_NAMESAKES);
  }
}

function received(request: CancelKey): { readonly key: CancelKey; readonly passedOn: boolean } {
  const { processId, secretKey } = request;
  const at = secretKey.length - PASSED_ON.length;
  if (at <= 0 || !secretKey.subarray(at).equals(PASSED_ON)) return { key: request, passedOn: false };
  return { key: { processId, secretKey: secretKey.subarray(0, at) }, passedOn: true };
}

function passOn({ address, cancelAddress }: ProxyRecord, key: CancelKey): Promise<void> {
  // A secret so long that there is no room for the mark is none of ours.
  if (key.secretKey.length > 256 - PASSED_ON.length) return Promise.resolve();
  const marked = { processId: key.processId, secretKey: Buffer.concat([key.secretKey, PASSED_ON]) };
  return new Promise((resolve) => sendCancelRequest({ ...(cancelAddress ?? address), tls: 'prefer' }, marked, resolve));
}
