import type { Clock } from '../../common/clock.ts';
import { LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { Wakeup } from '../../common/wakeup.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseId, LeaseStore } from '../../election/store/port.ts';
import { encodeRecord, type ProxyRecord, proxyRecord } from '../../election/store/records.ts';
import { appliedSeq, publication } from './applied-seq.ts';
import type { LeaseView } from './types.ts';
import type { ObservableWriteGate } from './write-gate.ts';

export interface RegistrationOptions {
  readonly store: LeaseStore;
  readonly cluster: string;
  readonly proxyId: string;
  /** Where two processes of one proxy may run at once (a takeover): what tells their keys apart. */
  readonly instance?: string;
  /** What applications reach this proxy by. */
  readonly address: { readonly host: string; readonly port: number };
  readonly httpUrl: string;
  readonly ttlMs: number;
  readonly lease: LeaseView;
  readonly gate: ObservableWriteGate;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Counts are published at most this often; 1000 by default. */
  readonly countsEveryMs?: number;
}

export interface Registration {
  /** Tells everybody that this proxy takes no new clients. It goes on to acknowledge holds. `cancelAddress`: see the record. */
  drain(cancelAddress?: ProxyRecord['cancelAddress']): void;
  /** Withdraws the record, within a second. */
  close(): Promise<void>;
}

/**
 * Keeps `proxies/<id>` in etcd on a lease of its own, and acknowledges holds there (planned switchover, step 2).
 * Retries for ever; the caller closes it before the lease view and the store.
 */
export function createRegistration(options: RegistrationOptions): Registration {
  return new EtcdRegistration(options);
}

const RETRY_MS = 200;

class EtcdRegistration implements Registration {
  readonly #options: RegistrationOptions;
  readonly #key: string;
  readonly #stop = new AbortController();
  readonly #wakeup = new Wakeup();
  readonly #unsubscribe: readonly (() => void)[];
  readonly #running: Promise<void>;
  #lease: LeaseId | null = null;
  #renewAtMs = 0;
  #countsAtMs = 0;
  #appliedSeq = 0;
  #draining: Pick<ProxyRecord, 'draining' | 'cancelAddress'> = {};
  #published: ProxyRecord | null = null;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#key = keysOf(options.cluster).proxy(
      [options.proxyId, options.instance ?? ''].filter((part) => part !== '').join('.'),
    );
    const look = () => this.#look();
    this.#unsubscribe = [options.lease.subscribe(look), options.gate.subscribe(look)];
    this.#running = this.#run();
  }

  drain(cancelAddress?: ProxyRecord['cancelAddress']): void {
    this.#draining = { draining: true, ...(cancelAddress === undefined ? {} : { cancelAddress }) };
    this.#countsAtMs = 0;
    this.#wakeup.wake();
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#stop.abort();
    await this.#running;
    if (this.#lease === null) return;
    try {
      await this.#options.store.revokeLease(this.#lease, { deadlineMs: 1000 });
    } catch (error) {
      if (!(error instanceof LeaseholdError)) throw error;
      this.#options.logger.debug({ event: 'proxy.not-withdrawn', err: error }, 'the record will go with its lease');
    }
  }

  /** Called on every change of the gate, which under load is often: wakes the loop only for what cannot wait. */
  #look(): void {
    if (appliedSeq(this.#holdState()) !== (this.#published?.appliedSeq ?? -1)) this.#wakeup.wake();
  }

  #holdState() {
    const { lease, gate } = this.#options;
    return { route: lease.view.route, inFlight: gate.inFlight, appliedSeq: this.#appliedSeq };
  }

  #record(): ProxyRecord {
    const { proxyId, address, httpUrl, gate } = this.#options;
    this.#appliedSeq = appliedSeq(this.#holdState());
    return {
      id: proxyId,
      address,
      httpUrl,
      appliedSeq: this.#appliedSeq,
      heldWrites: gate.held,
      inFlight: gate.inFlight,
      ...this.#draining,
    };
  }

  async #run(): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let waitMs: number;
      try {
        waitMs = await this.#turn();
      } catch (error) {
        if (!(error instanceof LeaseholdError)) throw error;
        waitMs = RETRY_MS;
        if (!signal.aborted) logger.debug({ event: 'proxy.unregistered', err: error }, 'the proxy cannot register');
      }
      await this.#wakeup.wait(waitMs, signal);
    }
  }

  /** Does what is due now; returns for how long nothing is. */
  async #turn(): Promise<number> {
    const { clock, ttlMs, countsEveryMs = 1000 } = this.#options;
    const lease = await this.#renewedLease();
    const record = this.#record();
    const when = publication(this.#published, record);
    const nowMs = clock.nowMs();
    if (when === 'at-once' || (when === 'soon' && nowMs >= this.#countsAtMs)) {
      await this.#put(record, lease);
      this.#countsAtMs = nowMs + countsEveryMs;
      // What changed while the answer was on its way would otherwise wait for the next turn.
      if (publication(this.#published, this.#record()) === 'at-once') return 0;
    }
    return Math.max(1, Math.min(this.#renewAtMs - nowMs, countsEveryMs, ttlMs / 3));
  }

  async #put(record: ProxyRecord, lease: LeaseId): Promise<void> {
    const { store } = this.#options;
    const value = encodeRecord(proxyRecord, record);
    // Until the answer says otherwise, nothing counts as published: an error makes the next turn put it again.
    this.#published = null;
    try {
      await store.transact({ compare: [], then: [{ type: 'put', key: this.#key, value, lease }] }, this.#call());
    } catch (error) {
      this.#renewAtMs = 0; // the lease may be gone
      throw error;
    }
    this.#published = record;
  }

  async #renewedLease(): Promise<LeaseId> {
    const { store, clock, ttlMs } = this.#options;
    const nowMs = clock.nowMs();
    if (this.#lease !== null && nowMs < this.#renewAtMs) return this.#lease;
    if (this.#lease !== null) {
      const { ttlMs: leftMs } = await store.keepAlive(this.#lease, this.#call());
      if (leftMs === 0) {
        this.#lease = null;
        this.#published = null;
      }
    }
    this.#lease ??= (await store.grantLease(ttlMs, this.#call())).lease;
    this.#renewAtMs = nowMs + ttlMs / 4;
    return this.#lease;
  }

  #call() {
    return { deadlineMs: Math.min(1000, this.#options.ttlMs / 5), signal: this.#stop.signal };
  }
}
