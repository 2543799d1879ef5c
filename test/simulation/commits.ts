interface Waiting {
  /** Entries of the WAL that must be flushed on the quorum. */
  readonly count: number;
  readonly client: boolean;
  readonly acknowledge: () => void;
}

/** Commits that are flushed here and wait for the synchronous quorum. */
export class CommitQueue {
  #waiting: Waiting[] = [];

  add(waiting: Waiting): void {
    this.#waiting.push(waiting);
  }

  release(quorumHas: (count: number) => boolean): void {
    if (this.#waiting.length === 0) return;
    const still: Waiting[] = [];
    const released: Waiting[] = [];
    for (const waiting of this.#waiting) (quorumHas(waiting.count) ? released : still).push(waiting);
    this.#waiting = still;
    for (const { acknowledge } of released) acknowledge();
  }

  /** The sessions of clients are ended: nothing is said to them any more. */
  dropClients(): void {
    this.#waiting = this.#waiting.filter((w) => !w.client);
  }

  clear(): void {
    this.#waiting = [];
  }
}
