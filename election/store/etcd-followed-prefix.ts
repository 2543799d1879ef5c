import type { IEvent, IRangeResponse } from 'etcd3';
import { decodeKey, decodeRange } from './etcd-codec.ts';
import type { StoreKey, StoreSnapshot } from './port.ts';

/** Reads in a row that may show changes of which the watch said nothing, before the watch counts as silent. */
const SILENT_AFTER_READS = 2;

/**
 * The content of a prefix, put together from reads and watch events in whatever order they arrive. Hands on
 * snapshots whose revisions never go back, unless it is another cluster's etcd (restored from a backup).
 */
export class FollowedPrefix {
  readonly #onSnapshot: (snapshot: StoreSnapshot) => void;
  #clusterId: string | null = null;
  #revision = 0;
  #keys: ReadonlyMap<string, StoreKey> = new Map();
  #readsAhead = 0;

  constructor(onSnapshot: (snapshot: StoreSnapshot) => void) {
    this.#onSnapshot = onSnapshot;
  }

  get revision(): number {
    return this.#revision;
  }

  get watchIsSilent(): boolean {
    return this.#readsAhead >= SILENT_AFTER_READS;
  }

  /** A read of the whole prefix. One that is older than what is known is dropped: etcd below 3.4.42 can serve such. */
  adoptRead(response: IRangeResponse): void {
    const snapshot = decodeRange(response);
    const sameCluster = this.#clusterId === null || this.#clusterId === response.header.cluster_id;
    if (sameCluster && snapshot.revision < this.#revision) return;
    const first = this.#clusterId === null || this.watchIsSilent;
    this.#readsAhead = first || sameContent(this.#keys, snapshot.keys) ? 0 : this.#readsAhead + 1;
    this.#clusterId = response.header.cluster_id;
    this.#revision = snapshot.revision;
    this.#keys = snapshot.keys;
    this.#onSnapshot(snapshot);
  }

  /**
   * Events of one watch response. The revision moves to the last event's, not to the response's: while a watch
   * catches up, the latter may lie beyond events that are still to come.
   */
  applyEvents(events: readonly IEvent[]): void {
    if (events.length === 0) return;
    this.#readsAhead = 0;
    const keys = new Map(this.#keys);
    let revision = this.#revision;
    for (const event of events) {
      const changed = decodeKey(event.kv);
      if (changed.modRevision <= this.#revision) continue; // a read has shown it
      revision = Math.max(revision, changed.modRevision);
      // The library's type says 'Put' | 'Delete', the wire says PUT and DELETE.
      if (event.type.toLowerCase() === 'delete') keys.delete(changed.key);
      else keys.set(changed.key, changed);
    }
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#keys = keys;
    this.#onSnapshot({ revision, keys });
  }
}

/** Whether two states of a prefix are the same. */
export function sameContent(a: ReadonlyMap<string, StoreKey>, b: ReadonlyMap<string, StoreKey>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) {
    if (b.get(key)?.modRevision !== value.modRevision) return false;
  }
  return true;
}
