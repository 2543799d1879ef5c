import { pino } from 'pino';
import { type ClusterView, readClusterView } from '../../election/core/cluster-view.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';

/** What etcd shows, seen by somebody whom no fault cuts off, and whether terms behave (I4). */
export class Observer {
  readonly violations: string[] = [];
  readonly #nodes: readonly string[];
  readonly #store: LeaseStore;
  readonly #following = new AbortController();
  readonly #leaders = new Map<bigint, string>();
  #view: ClusterView | null = null;
  #term = 0n;

  constructor(cluster: string, endpoints: readonly string[], nodes: readonly string[]) {
    this.#nodes = nodes;
    this.#store = createEtcdStore({ endpoints, logger: pino({ level: 'silent' }) });
    this.#store.follow(keysOf(cluster).prefix, {
      refreshMs: 1000,
      signal: this.#following.signal,
      onSnapshot: (snapshot) => this.#look(readClusterView(cluster, snapshot)),
      onUnreachable: () => {},
    });
  }

  get view(): ClusterView | null {
    return this.#view;
  }

  /** The node of the leader key. */
  get leader(): string | null {
    return this.#view?.leader?.record.node ?? null;
  }

  get term(): number {
    return Number(this.#term);
  }

  /** Elections so far, by what the history says of them. */
  get elections(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { reason } of this.#view?.history ?? []) counts[reason] = (counts[reason] ?? 0) + 1;
    return counts;
  }

  /** An open route, and all others stream from its leader and count in its quorum. */
  get inStep(): boolean {
    const view = this.#view;
    const route = view?.route ?? null;
    if (view === null || route === null || route.hold || view.leader?.record.term !== route.term) return false;
    const leader = view.members.get(route.leader);
    if (leader?.state !== 'LEADER_OPEN' || (view.sync?.record.members.length ?? 0) < this.#nodes.length - 1)
      return false;
    return this.#nodes.every((node) => {
      const member = view.members.get(node);
      if (node === route.leader || member === undefined) return member !== undefined;
      return member.state === 'FOLLOWER' && member.streaming && member.timeline === leader.timeline;
    });
  }

  describe(): string {
    const view = this.#view;
    if (view === null) return 'etcd has not answered';
    const { route, leader, sync } = view;
    const members = [...view.members.values()].map(
      ({ node, state, streaming, timeline, note }) =>
        `${node} ${state}${streaming ? ' streaming' : ''} timeline ${timeline}${note === null ? '' : ` (${note})`}`,
    );
    const open =
      route === null ? 'no route' : `route ${route.hold ? 'held' : 'open'} to ${route.leader} in term ${route.term}`;
    const record =
      sync === null ? 'none' : `${sync.record.leader} + ${sync.record.k} of ${sync.record.members.join(',')}`;
    return `term ${view.term.value}, leader key ${leader?.record.node ?? (view.leaderCreateRevision > 0 ? 'damaged' : 'absent')}, ${open}, record ${record}; ${members.join('; ')}`;
  }

  async close(): Promise<void> {
    this.#following.abort();
    await this.#store.close();
  }

  #look(view: ClusterView): void {
    // Members of etcd that lag may show an older revision.
    if (this.#view !== null && view.revision < this.#view.revision) return;
    this.#view = view;
    if (view.term.value < this.#term) this.violations.push(`the term went from ${this.#term} to ${view.term.value}`);
    if (view.term.value > this.#term) this.#term = view.term.value;
    for (const { term, leader } of view.history) {
      const before = this.#leaders.get(term);
      if (before !== undefined && before !== leader)
        this.violations.push(`term ${term} is ${before}’s and ${leader}’s in the history`);
      this.#leaders.set(term, leader);
    }
  }
}
