import type { Lsn, Term } from '../../common/lsn.ts';
import type { ClusterView } from '../../election/core/cluster-view.ts';
import type { HistoryRecord, MemberRecord, PledgeRecord, SyncRecord } from '../../election/store/records.ts';

/** What the core sees of etcd, for unit tests: small, and nothing in it but what a test names. */
export const termOf = (n: number): Term => BigInt(n) as Term;
export const lsnOf = (n: number): Lsn => BigInt(n) as Lsn;

export function historyEntry(term: number, parent: number, timeline: number, promoted = true): HistoryRecord {
  const rest = { previousLeader: null, reason: 'failover', nextXid: null, at: '', detail: null } as const;
  return { term: termOf(term), leader: 'x', parent: termOf(parent), timeline, promoted, ...rest };
}

export function memberOf(node: string, given: Partial<MemberRecord> = {}): MemberRecord {
  return {
    node,
    address: { host: node, port: 5432 },
    apiUrl: `http://${node}:8008`,
    state: 'FOLLOWER',
    term: termOf(0),
    timeline: 1,
    flushedLsn: lsnOf(0),
    replayedLsn: lsnOf(0),
    streaming: false,
    systemId: '7',
    postgresVersion: null,
    postgresPid: null,
    agentPid: 1,
    priority: 50,
    noFailover: false,
    note: null,
    ...given,
  };
}

export function pledgeOf(node: string, term: number, lineage: number, flushed: number): PledgeRecord {
  return { node, term: termOf(term), timeline: 1, flushedLsn: lsnOf(flushed), lineage: termOf(lineage) };
}

export interface ViewFacts {
  readonly term: number;
  readonly sync?: SyncRecord;
  readonly pledges?: readonly PledgeRecord[];
  readonly members?: readonly MemberRecord[];
  readonly history?: readonly HistoryRecord[];
}

/** No leader key. A pledge's mod revision is 100 + its place in the list. */
export function viewOf({ term, sync, pledges = [], members = [], history = [] }: ViewFacts): ClusterView {
  const stored = { createRevision: 1, lease: null };
  return {
    revision: 1000,
    term: { value: termOf(term), modRevision: 40 },
    leader: null,
    leaderCreateRevision: 0,
    leaderWithoutLease: 0,
    sync: sync === undefined ? null : { ...stored, record: sync, modRevision: 41 },
    route: null,
    system: { systemId: '7', initialisedBy: 'a' },
    switchover: null,
    pause: null,
    settings: null,
    members: new Map(members.map((m) => [m.node, m])),
    pledges: new Map(pledges.map((record, i) => [record.node, { ...stored, record, modRevision: 100 + i }])),
    proxies: new Map(),
    history,
    damaged: [],
  };
}
