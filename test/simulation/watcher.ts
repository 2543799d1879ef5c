import { sameContent } from '../../election/store/etcd-followed-prefix.ts';
import type { StoreKey, StoreSnapshot } from '../../election/store/port.ts';
import type { SimContext } from './context.ts';
import type { EtcdClient, SimEtcd } from './etcd.ts';

/** Reads in a row that may show changes of which the watch said nothing, before the watch counts as silent. */
const SILENT_AFTER_READS = 2;

/** One client's watch of a prefix: both ends of it. */
export class Watcher {
  ended = false;
  /** The client's belief. */
  trusted = false;
  /** In which life of etcd it is open there; null: nowhere. */
  #openIn: number | null = null;
  #pending = false;
  #seen = 0;
  #keys: ReadonlyMap<string, StoreKey> = new Map();
  #readsAhead = 0;
  readonly #etcd: SimEtcd;
  readonly #context: SimContext;
  readonly #client: EtcdClient;
  readonly #prefix: string;
  readonly #onSnapshot: (snapshot: StoreSnapshot) => void;

  constructor(
    etcd: SimEtcd,
    context: SimContext,
    client: EtcdClient,
    prefix: string,
    onSnapshot: (snapshot: StoreSnapshot) => void,
  ) {
    this.#etcd = etcd;
    this.#context = context;
    this.#client = client;
    this.#prefix = prefix;
    this.#onSnapshot = onSnapshot;
  }

  /** At etcd: something has changed. A delivery merges what changes until it leaves. */
  changed(): void {
    if (this.#pending || this.#openIn === null) return;
    this.#pending = true;
    const { scheduler, random, network } = this.#context;
    scheduler.after(random.between(0, 3), () => {
      this.#pending = false;
      const { process } = this.#etcd;
      if (!process.active || this.#openIn !== process.life) return;
      const snapshot = this.#etcd.state.readAll(this.#etcd.nowMs, this.#prefix);
      scheduler.after(network.delay(), () => {
        if (!network.open('etcd', this.#client.name)) return this.broken();
        this.#client.deliver(() => {
          this.#readsAhead = 0;
          this.#take(snapshot);
        });
      });
    });
  }

  /** Nothing comes any more, and nobody says so. */
  broken(): void {
    this.#openIn = null;
  }

  /** At the client: everything was read. */
  read(snapshot: StoreSnapshot): void {
    const silent = snapshot.revision > this.#seen && !sameContent(this.#keys, snapshot.keys);
    this.#readsAhead = silent ? this.#readsAhead + 1 : 0;
    this.#take(snapshot);
    if (!this.trusted || this.#readsAhead >= SILENT_AFTER_READS) this.#open();
  }

  #take(snapshot: StoreSnapshot): void {
    if (this.ended || snapshot.revision < this.#seen) return;
    this.#seen = snapshot.revision;
    this.#keys = snapshot.keys;
    this.#onSnapshot(snapshot);
  }

  #open(): void {
    this.trusted = true;
    this.#readsAhead = 0;
    const from = this.#seen + 1;
    const { network } = this.#context;
    const { process } = this.#etcd;
    network.send(this.#client.name, 'etcd', () =>
      process.deliver(process.life, () => {
        if (this.ended) return;
        if (from < this.#etcd.compactedAt) {
          this.broken();
          return network.send('etcd', this.#client.name, () => this.#client.deliver(() => this.#refused()));
        }
        this.#openIn = process.life;
        this.changed();
      }),
    );
  }

  /** Compacted: read anew, at once. What then fails is left to the next regular read. */
  #refused(): void {
    this.#context.trace.add(this.#client.name, 'its watch was compacted');
    this.trusted = false;
    if (this.#etcd.compactedIsForever) this.ended = true;
    if (this.ended) return;
    this.#etcd.request(
      this.#client,
      1000,
      (etcd, nowMs) => etcd.readAll(nowMs, this.#prefix),
      (outcome) => {
        if (outcome.ok && !this.ended) this.read(outcome.value);
      },
    );
  }
}
