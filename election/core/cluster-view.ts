import { NO_TERM, parseTerm, type Term } from '../../common/lsn.ts';
import { type Keys, keysOf } from '../store/keys.ts';
import type { LeaseId, StoreSnapshot } from '../store/port.ts';
import * as records from '../store/records.ts';

/** A record with where it stands in etcd. `modRevision` is what the acquire transaction compares. */
export interface Stored<T> {
  readonly record: T;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly lease: LeaseId | null;
}

/** Everything below the cluster's prefix at one revision, decoded. Damaged records are listed, and otherwise as good as absent. */
export interface ClusterView {
  readonly revision: number;
  /** 0 and modRevision 0 before the first election. */
  readonly term: { readonly value: Term; readonly modRevision: number };
  readonly leader: Stored<records.LeaderRecord> | null;
  /** Create revision of the leader key whatever its value is; 0 where it does not exist. */
  readonly leaderCreateRevision: number;
  /** Mod revision of a leader key that hangs on no lease, which no agent writes: it would outlive its holder. 0: there is none. */
  readonly leaderWithoutLease: number;
  readonly sync: Stored<records.SyncRecord> | null;
  readonly route: records.RouteRecord | null;
  readonly system: records.SystemRecord | null;
  readonly switchover: records.SwitchoverRecord | null;
  readonly pause: records.PauseRecord | null;
  readonly settings: records.SettingsRecord | null;
  readonly members: ReadonlyMap<string, records.MemberRecord>;
  readonly pledges: ReadonlyMap<string, Stored<records.PledgeRecord>>;
  readonly proxies: ReadonlyMap<string, records.ProxyRecord>;
  /** In the order of terms. */
  readonly history: readonly records.HistoryRecord[];
  /** Keys whose value could not be read. */
  readonly damaged: readonly string[];
}

/** Decodes a snapshot of the prefix of `cluster`. Keys outside the prefix and unknown keys are ignored. */
export function readClusterView(cluster: string, snapshot: StoreSnapshot): ClusterView {
  const keys = keysOf(cluster);
  const leader = snapshot.keys.get(keys.leader);
  const damaged: string[] = [];
  const one = <S extends Parameters<typeof records.decodeRecord>[0]>(key: string, schema: S) => {
    const stored = snapshot.keys.get(key);
    if (stored === undefined) return null;
    const record = records.decodeRecord(schema, stored.value);
    if (record === null) {
      damaged.push(key);
      return null;
    }
    const { createRevision, modRevision, lease } = stored;
    return { record, createRevision, modRevision, lease };
  };
  const many = <S extends Parameters<typeof records.decodeRecord>[0]>(prefix: string, schema: S) => {
    const found: [string, NonNullable<ReturnType<typeof one<S>>>][] = [];
    for (const key of snapshot.keys.keys()) {
      if (!key.startsWith(prefix)) continue;
      const stored = one(key, schema);
      if (stored !== null) found.push([key.slice(prefix.length), stored]);
    }
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  };
  return {
    revision: snapshot.revision,
    term: readTerm(keys, snapshot, damaged),
    leader: one(keys.leader, records.leaderRecord),
    leaderCreateRevision: leader?.createRevision ?? 0,
    leaderWithoutLease: leader?.lease === null ? leader.modRevision : 0,
    sync: one(keys.sync, records.syncRecord),
    route: one(keys.route, records.routeRecord)?.record ?? null,
    system: one(keys.system, records.systemRecord)?.record ?? null,
    switchover: one(keys.switchover, records.switchoverRecord)?.record ?? null,
    pause: snapshot.keys.has(keys.pause)
      ? (one(keys.pause, records.pauseRecord)?.record ?? records.UNREADABLE_PAUSE)
      : null,
    settings: one(keys.config, records.settingsRecord)?.record ?? null,
    members: new Map(many(keys.membersPrefix, records.memberRecord).map(([k, s]) => [k, s.record])),
    pledges: new Map(many(keys.pledgesPrefix, records.pledgeRecord)),
    proxies: new Map(many(keys.proxiesPrefix, records.proxyRecord).map(([k, s]) => [k, s.record])),
    history: many(keys.historyPrefix, records.historyRecord).map(([, s]) => s.record),
    damaged,
  };
}

function readTerm(keys: Keys, snapshot: StoreSnapshot, damaged: string[]): ClusterView['term'] {
  const stored = snapshot.keys.get(keys.term);
  if (stored === undefined) return { value: NO_TERM, modRevision: 0 };
  if (/^\d{1,20}$/.test(stored.value)) return { value: parseTerm(stored.value), modRevision: stored.modRevision };
  damaged.push(keys.term);
  return { value: NO_TERM, modRevision: stored.modRevision };
}
