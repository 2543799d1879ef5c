import { StoreError } from '../../common/errors.ts';
import { MemoryEtcd } from '../../election/store/memory.ts';
import type { StoreSnapshot } from '../../election/store/port.ts';
import type { SimContext } from './context.ts';
import { SimProcess } from './process.ts';
import { Watcher } from './watcher.ts';

export type StoreOutcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly outcome: 'not-applied' | 'unknown'; readonly error: string };

/** Somebody who speaks to etcd: where it stands in the network, and how things are delivered to its process. */
export interface EtcdClient {
  readonly name: string;
  deliver(run: () => void): void;
  /** True milliseconds until this process's own timer of `ms` fires. */
  trueMs(ms: number): number;
}

/** etcd (its majority) behind a network: late, unreachable, paused, restarted, and with answers that are lost. */
export class SimEtcd {
  readonly process = new SimProcess();
  readonly state = new MemoryEtcd();
  /** Chance that a request is carried out and its answer lost. */
  lossRate = 0;
  /** Called after each change of the keys. */
  onChange: (snapshot: StoreSnapshot) => void = () => {};
  readonly #context: SimContext;
  readonly #watchers = new Set<Watcher>();
  /** Planted: a client whose watch was refused hears no more. */
  compactedIsForever = false;
  compactedAt = 0;
  #seenRevision = 0;
  #expiryPlannedMs = Number.POSITIVE_INFINITY;

  constructor(context: SimContext) {
    this.#context = context;
    this.process.start();
  }

  /** etcd's own time stands still for nobody: it is the world's. */
  get nowMs(): number {
    return this.#context.scheduler.nowMs;
  }

  /** One request. `answer` is called once in the client's process, at the latest when its deadline has passed. */
  request<T>(
    client: EtcdClient,
    deadlineMs: number,
    work: (etcd: MemoryEtcd, nowMs: number) => T,
    answer: (outcome: StoreOutcome<T>) => void,
  ): void {
    const { network, random, scheduler } = this.#context;
    let answered = false;
    const sentMs = scheduler.nowMs;
    const deadlineAtMs = sentMs + client.trueMs(deadlineMs);
    const once = (outcome: StoreOutcome<T>): void => {
      client.deliver(() => {
        if (answered) return;
        answered = true;
        timer.cancel();
        // A process that was stopped may see its own timer before the answer that lies in the socket.
        const late = scheduler.nowMs > deadlineAtMs && outcome.ok && random.chance(0.5);
        answer(late ? { ok: false, outcome: 'unknown', error: 'deadline' } : outcome);
      });
    };
    const timer = scheduler.at(deadlineAtMs, () => once({ ok: false, outcome: 'unknown', error: 'deadline' }));
    network.send(client.name, 'etcd', () => {
      if (!this.process.alive) {
        return network.send('etcd', client.name, () => once({ ok: false, outcome: 'not-applied', error: 'refused' }));
      }
      this.process.deliver(this.process.life, () => {
        const outcome = this.#run(work);
        if (random.chance(this.lossRate)) {
          this.#context.trace.add('etcd', `answer to ${client.name} is lost`);
          // Half of the lost answers are seen at once (a reset connection), half by the deadline.
          if (random.chance(0.5))
            network.send('etcd', client.name, () => once({ ok: false, outcome: 'unknown', error: 'reset' }));
          return;
        }
        network.send('etcd', client.name, () => once(outcome));
      });
    });
  }

  #run<T>(work: (etcd: MemoryEtcd, nowMs: number) => T): StoreOutcome<T> {
    try {
      const value = work(this.state, this.nowMs);
      this.#afterWork();
      return { ok: true, value };
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return { ok: false, outcome: error.outcome, error: error.message };
    }
  }

  /** What happened up to now can be watched no more. */
  compact(): void {
    if (this.process.active) this.compactedAt = this.state.revision;
  }

  /** Without a word to the clients. */
  breakWatches(share: number): void {
    for (const watcher of this.#watchers) if (this.#context.random.chance(share)) watcher.broken();
  }

  /**
   * The full content below the prefix, after each change and each `refreshMs`, as `election/store/etcd-follow.ts` does it:
   * a read, then a watch from there, and reads that back it. Snapshots never go back. A watch whose events got lost is
   * dead; when reads show that, or fail, a new one is asked for, and after a compaction everything is read anew. Returns how to end it.
   */
  follow(
    client: EtcdClient,
    prefix: string,
    refreshMs: number,
    onSnapshot: (snapshot: StoreSnapshot) => void,
    onUnreachable: () => void,
  ): () => void {
    const watcher = new Watcher(this, this.#context, client, prefix, onSnapshot);
    const refresh = (): void => {
      this.request(
        client,
        refreshMs,
        (etcd, nowMs) => etcd.readAll(nowMs, prefix),
        (outcome) => {
          if (watcher.ended) return;
          if (outcome.ok) watcher.read(outcome.value);
          else onUnreachable();
          if (!outcome.ok) watcher.trusted = false;
          this.#context.scheduler.after(client.trueMs(refreshMs), () => client.deliver(refresh));
        },
      );
    };
    this.#watchers.add(watcher);
    client.deliver(refresh);
    return () => {
      watcher.ended = true;
      this.#watchers.delete(watcher);
    };
  }

  /** Down and up again: the keys stay; every lease starts anew with its full time, as under a new etcd leader. */
  restart(): void {
    this.process.start();
    this.state.extendAllLeases(this.nowMs);
    this.#planExpiry();
  }

  /** Goes on after a stop: either another member led meanwhile and has extended every lease, or the overdue ones expire. */
  resume(): void {
    if (this.#context.random.chance(0.5)) this.state.extendAllLeases(this.nowMs);
    else this.state.expire(this.nowMs);
    this.process.resume();
    this.#notice();
    this.#planExpiry();
  }

  #afterWork(): void {
    this.#notice();
    this.#planExpiry();
  }

  #notice(): void {
    if (this.state.revision === this.#seenRevision) return;
    this.#seenRevision = this.state.revision;
    this.onChange(this.state.readAll(this.nowMs, ''));
    for (const watcher of this.#watchers) watcher.changed();
  }

  #planExpiry(): void {
    const next = this.state.nextExpiryMs();
    if (next === null || next === this.#expiryPlannedMs) return;
    this.#expiryPlannedMs = next;
    this.#context.scheduler.at(next, () => {
      this.#expiryPlannedMs = Number.POSITIVE_INFINITY;
      if (!this.process.active) return;
      if (this.state.expire(this.nowMs)) this.#notice();
      this.#planExpiry();
    });
  }
}
