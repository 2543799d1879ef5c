import { parseTerm, type Term } from '../../common/lsn.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseId, StoreSnapshot } from '../../election/store/port.ts';
import {
  decodeRecord,
  encodeRecord,
  type ProxyRecord,
  proxyRecord,
  routeRecord,
} from '../../election/store/records.ts';
import type { SimContext } from './context.ts';
import type { SimEtcd } from './etcd.ts';
import { CLUSTER } from './node.ts';
import { SimProcess } from './process.ts';

const TTL_MS = 5000;
const KEEP_ALIVE_MS = 1000;

/** What the election sees of a proxy: it follows the route and says which hold it has carried out. */
export class SimProxy {
  readonly id: string;
  readonly process = new SimProcess();
  /** Transactions that do not end: the drain cannot be finished. */
  stuck = false;
  /** The route as this proxy last saw it. */
  route: { readonly term: Term; readonly hold: boolean; readonly leader: string } | null = null;
  #lease: LeaseId | null = null;
  #appliedSeq = 0;
  readonly #context: SimContext;
  readonly #etcd: SimEtcd;
  readonly #keys = keysOf(CLUSTER);

  constructor(context: SimContext, etcd: SimEtcd, id: string) {
    this.#context = context;
    this.#etcd = etcd;
    this.id = id;
    this.process.start();
    etcd.follow(
      this.#client(),
      this.#keys.route,
      KEEP_ALIVE_MS,
      (s) => this.#routed(s),
      () => {},
    );
    this.#keep();
  }

  #client(): Parameters<SimEtcd['request']>[0] {
    const { life } = this.process;
    return { name: this.id, deliver: (run) => this.process.deliver(life, run), trueMs: (ms) => ms };
  }

  #routed(snapshot: StoreSnapshot): void {
    const text = snapshot.keys.get(this.#keys.route)?.value;
    const route = text === undefined ? null : decodeRecord(routeRecord, text);
    if (route === null) return;
    if (this.route !== null && route.term < parseTerm(this.route.term)) {
      this.#context.violation('I4', `the route goes back from term ${this.route.term} to ${route.term}`);
    }
    this.route = route;
    if (!route.hold || route.seq <= this.#appliedSeq) return;
    const { scheduler, random } = this.#context;
    // Transactions in flight end one after another.
    scheduler.after(random.between(1, 60), () =>
      this.process.deliver(this.process.life, () => {
        if (this.stuck) return;
        this.#appliedSeq = Math.max(this.#appliedSeq, route.seq);
        this.#publish();
      }),
    );
  }

  #keep(): void {
    const again = (): void => {
      this.#context.scheduler.after(KEEP_ALIVE_MS, () => this.process.deliver(this.process.life, () => this.#keep()));
    };
    const lease = this.#lease;
    if (lease === null) {
      return this.#etcd.request(
        this.#client(),
        KEEP_ALIVE_MS,
        (etcd, now) => etcd.grantLease(now, TTL_MS),
        (answer) => {
          if (answer.ok) this.#lease = answer.value.lease;
          this.#publish();
          again();
        },
      );
    }
    this.#etcd.request(
      this.#client(),
      KEEP_ALIVE_MS,
      (etcd, now) => etcd.keepAlive(now, lease),
      (answer) => {
        if (answer.ok && answer.value.ttlMs === 0) this.#lease = null;
        again();
      },
    );
  }

  #publish(): void {
    const lease = this.#lease;
    if (lease === null) return;
    const record: ProxyRecord = {
      id: this.id,
      address: { host: this.id, port: 6432 },
      httpUrl: `http://${this.id}:6480`,
      appliedSeq: this.#appliedSeq,
      heldWrites: 0,
      inFlight: this.stuck ? 1 : 0,
    };
    const value = encodeRecord(proxyRecord, record);
    const put = { type: 'put', key: this.#keys.proxy(this.id), value, lease } as const;
    this.#etcd.request(
      this.#client(),
      350,
      (etcd, now) => etcd.transact(now, { compare: [], then: [put] }),
      (answer) => {
        if (!answer.ok)
          this.#context.scheduler.after(200, () => this.process.deliver(this.process.life, () => this.#publish()));
      },
    );
  }
}
