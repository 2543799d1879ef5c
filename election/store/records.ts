import { z } from 'zod';
import { clusterSettings } from '../../common/config/schema.ts';
import { formatLsn, type Lsn, parseLsn, parseTerm, type Term } from '../../common/lsn.ts';

/**
 * The values of the keys, as JSON. LSNs travel as PostgreSQL's text, terms as decimal text. Unknown fields are
 * ignored, so that versions can be mixed while a cluster is upgraded.
 */
const term = z.codec(z.string().regex(/^\d{1,20}$/), z.custom<Term>(), {
  decode: (text) => parseTerm(text),
  encode: (value) => value.toString(),
});
const lsn = z.codec(z.string(), z.custom<Lsn>(), {
  decode: (text) => parseLsn(text),
  encode: (value) => formatLsn(value),
});
const address = z.object({ host: z.string(), port: z.number().int() });

/** `leader`, on the leader's lease. */
export const leaderRecord = z.object({ node: z.string(), term, bootId: z.string(), address });
export type LeaderRecord = z.output<typeof leaderRecord>;

/**
 * `sync`, the durability record of `term`: a commit acknowledged by `leader` is on it and on `k` of `members`
 * (followers; the leader is never one of them). `k` = 0 with no members: nobody but `leader` is eligible.
 */
export const syncRecord = z.object({
  term,
  leader: z.string(),
  members: z.array(z.string()),
  k: z.number().int().min(0),
  /**
   * A planned switchover: `leader` has stopped for good in `term`, and has verified that this node holds everything
   * it ever acknowledged. That node may acquire as `leader` itself may.
   */
  handover: z.string().optional(),
});
export type SyncRecord = z.output<typeof syncRecord>;

/**
 * `route`, the only key that proxies obey. `nextXid` is the next transaction id at the end of `term`'s recovery,
 * before any write of it (pitfall of reused ids); null for the first term. While `hold` is true no leader work
 * starts. `seq` grows with every change.
 */
export const routeRecord = z.object({
  term,
  leader: z.string(),
  address,
  hold: z.boolean(),
  seq: z.number().int(),
  nextXid: z.string().nullable(),
});
export type RouteRecord = z.output<typeof routeRecord>;

export const NODE_STATES = [
  'INIT',
  'CLONING',
  'FOLLOWER',
  'PLEDGED',
  'CANDIDATE',
  'PROMOTING',
  'LEADER_HELD',
  'LEADER_OPEN',
  'DRAINING',
  'DEMOTING',
  'FENCED',
  'REWINDING',
] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** `members/<node>`, on the node's own lease: what it last said of itself. */
export const memberRecord = z.object({
  node: z.string(),
  address,
  /** Base URL of the agent's HTTP API. */
  apiUrl: z.string(),
  state: z.enum(NODE_STATES),
  /** The term that this node follows or leads. */
  term,
  timeline: z.number().int(),
  flushedLsn: lsn,
  replayedLsn: lsn,
  /** Whether it takes WAL from the leader of `term` now. */
  streaming: z.boolean(),
  systemId: z.string().nullable(),
  postgresVersion: z.string().nullable(),
  postgresPid: z.number().int().nullable(),
  agentPid: z.number().int(),
  priority: z.number(),
  noFailover: z.boolean(),
  /** The rules that this node goes by, and the version of `config` that it has seen; 0: none. */
  rules: z.object({ version: z.number().int(), syncAcks: z.number(), withoutFollower: z.string() }).optional(),
  /** A leader: where its timeline left the earlier ones (the last 32), by which an old leader decides how to rejoin. */
  forks: z.array(z.object({ timeline: z.number().int(), endLsn: lsn })).optional(),
  /** A leader: it has checkpointed on its timeline, which pg_rewind needs of its source. */
  rewindable: z.boolean().optional(),
  /** A leader that is held for want of followers: its quorum has confirmed its term, so nodes may copy from it. */
  confirmed: z.boolean().optional(),
  /** Why the node is where it is, in words for people; null when all is well. */
  note: z.string().nullable(),
});
export type MemberRecord = z.output<typeof memberRecord>;

/** `proxies/<id>`, on the proxy's own lease. `appliedSeq` is the route seq whose hold it has carried out. */
export const proxyRecord = z.object({
  id: z.string(),
  address,
  httpUrl: z.string(),
  appliedSeq: z.number().int(),
  heldWrites: z.number().int(),
  inFlight: z.number().int(),
  /** It takes no new clients and ends when those it has are done. It still acknowledges holds. */
  draining: z.boolean().optional(),
  /** Where a process reads cancel requests whose ports another process of the same proxy has taken over. */
  cancelAddress: address.optional(),
});
export type ProxyRecord = z.output<typeof proxyRecord>;

/** `pledge/<node>`: "I take no WAL from a term below `term`", with what was flushed once the receiver was off. */
export const pledgeRecord = z.object({
  node: z.string(),
  term,
  /** For people: timelines of two terms may carry the same number. */
  timeline: z.number().int(),
  flushedLsn: lsn,
  /** The term whose content the copy ends with (election/core/lineage.ts). Copies are compared by it, then by position. */
  lineage: term,
});
export type PledgeRecord = z.output<typeof pledgeRecord>;

/** `switchover`: put by an operator, deleted by the leader when it is done or aborted. `to` null: the best follower. */
export const switchoverRecord = z.object({ id: z.string(), to: z.string().nullable(), requestedAt: z.string() });
export type SwitchoverRecord = z.output<typeof switchoverRecord>;

/**
 * `pause`: put and deleted by operators. While it exists, leadership moves only by their hand, and no node's data is replaced. A
 * value that cannot be read pauses as well.
 */
export const pauseRecord = z.object({ by: z.string(), reason: z.string().nullable(), at: z.string() });
export type PauseRecord = z.output<typeof pauseRecord>;
export const UNREADABLE_PAUSE: PauseRecord = {
  by: 'somebody',
  reason: 'the key cannot be read',
  at: 'an unknown time',
};

/** `config`: settings of the whole cluster, put by operators. `version` counts the changes. What is absent is as each node's own file says. */
export const settingsRecord = z.object({
  version: z.number().int(),
  by: z.string(),
  at: z.string(),
  settings: z.object(clusterSettings.shape),
});
export type SettingsRecord = z.output<typeof settingsRecord>;

/** `history/<term>`: how the term came to be. `at` is wall-clock time, for people only. */
export const historyRecord = z.object({
  term,
  leader: z.string(),
  previousLeader: z.string().nullable(),
  reason: z.enum(['bootstrap', 'failover', 'switchover', 'restart', 'forced']),
  /** The term whose content the leader's copy ended with when it was elected; 0 for none. */
  parent: term.optional(),
  /** The leader has been promoted, and `timeline` is what it made; before that it is a guess. */
  promoted: z.boolean().optional(),
  timeline: z.number().int(),
  nextXid: z.string().nullable(),
  at: z.string(),
  detail: z.string().nullable(),
});
export type HistoryRecord = z.output<typeof historyRecord>;

/** `system`: which PostgreSQL cluster this is. */
export const systemRecord = z.object({ systemId: z.string(), initialisedBy: z.string() });
export type SystemRecord = z.output<typeof systemRecord>;

export function encodeRecord<S extends z.ZodType>(schema: S, value: z.output<S>): string {
  return JSON.stringify(z.encode(schema, value));
}

/** Null where the text is not a valid record: a foreign or damaged value is as good as none, and is reported by the caller. */
export function decodeRecord<S extends z.ZodType>(schema: S, text: string): z.output<S> | null {
  try {
    const result = z.safeDecode(schema, JSON.parse(text));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}
