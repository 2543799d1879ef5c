import type { Term } from '../../common/lsn.ts';
import type { Keys } from '../../election/store/keys.ts';
import type { LeaseId, StoreKey, StoreSnapshot } from '../../election/store/port.ts';
import {
  decodeRecord,
  type HistoryRecord,
  historyRecord,
  type LeaderRecord,
  leaderRecord,
  type MemberRecord,
  memberRecord,
  type PauseRecord,
  pauseRecord,
  type ProxyRecord,
  proxyRecord,
  type RouteRecord,
  routeRecord,
  type SettingsRecord,
  settingsRecord,
  UNREADABLE_PAUSE,
} from '../../election/store/records.ts';

/** The leader key as it stands: who holds it, on which lease, and the revision that names this holding of it. */
export interface LeaderKey {
  readonly record: LeaderRecord;
  readonly createRevision: number;
  readonly lease: LeaseId;
}

export interface ClusterContent {
  readonly revision: number;
  readonly route: RouteRecord | null;
  readonly leader: LeaderKey | null;
  readonly members: ReadonlyMap<string, MemberRecord>;
  readonly proxies: ReadonlyMap<string, ProxyRecord>;
  readonly history: ReadonlyMap<Term, HistoryRecord>;
  readonly pause: PauseRecord | null;
  readonly settings: SettingsRecord | null;
  /** Keys whose value could not be read since the last snapshot; such a key counts as absent. */
  readonly damaged: readonly string[];
}

interface Decoded {
  readonly modRevision: number;
  readonly record: unknown;
}

/** Reads snapshots into records. Remembers what it decoded, since most keys do not change from one to the next. */
export class ClusterReader {
  readonly #keys: Keys;
  #cache: Map<string, Decoded> = new Map();

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  read(snapshot: StoreSnapshot): ClusterContent {
    const cache = new Map<string, Decoded>();
    const damaged: string[] = [];
    const decode = <T>(stored: StoreKey, parse: (text: string) => T | null): T | null => {
      const known = this.#cache.get(stored.key);
      const current = known?.modRevision === stored.modRevision ? known : null;
      const record = current === null ? parse(stored.value) : (current.record as T | null);
      if (current === null && record === null) damaged.push(stored.key);
      cache.set(stored.key, current ?? { modRevision: stored.modRevision, record });
      return record;
    };

    const members = new Map<string, MemberRecord>();
    const proxies = new Map<string, ProxyRecord>();
    const history = new Map<Term, HistoryRecord>();
    for (const stored of snapshot.keys.values()) {
      if (stored.key.startsWith(this.#keys.membersPrefix)) {
        const record = decode(stored, (text) => decodeRecord(memberRecord, text));
        if (record !== null) members.set(record.node, record);
      } else if (stored.key.startsWith(this.#keys.proxiesPrefix)) {
        const record = decode(stored, (text) => decodeRecord(proxyRecord, text));
        if (record !== null) proxies.set(stored.key.slice(this.#keys.proxiesPrefix.length), record);
      } else if (stored.key.startsWith(this.#keys.historyPrefix)) {
        const record = decode(stored, (text) => decodeRecord(historyRecord, text));
        if (record !== null) history.set(record.term, record);
      }
    }
    const route = snapshot.keys.get(this.#keys.route);
    const leader = snapshot.keys.get(this.#keys.leader);
    const pause = snapshot.keys.get(this.#keys.pause);
    const settings = snapshot.keys.get(this.#keys.config);
    const holder = leader === undefined ? null : decode(leader, (text) => decodeRecord(leaderRecord, text));
    const content = {
      revision: snapshot.revision,
      route: route === undefined ? null : decode(route, (text) => decodeRecord(routeRecord, text)),
      // A leader key without a lease was written by hand: nobody's leadership.
      leader:
        leader === undefined || leader.lease === null || holder === null
          ? null
          : { record: holder, createRevision: leader.createRevision, lease: leader.lease },
      members,
      proxies,
      history,
      pause:
        pause === undefined ? null : (decode(pause, (text) => decodeRecord(pauseRecord, text)) ?? UNREADABLE_PAUSE),
      settings: settings === undefined ? null : decode(settings, (text) => decodeRecord(settingsRecord, text)),
      damaged,
    };
    this.#cache = cache;
    return content;
  }
}
