import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { oneLine } from '../../common/one-line.ts';
import { describePause } from '../../election/core/facts.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import {
  decodeRecord,
  encodeRecord,
  historyRecord,
  pauseRecord,
  switchoverRecord,
  syncRecord,
} from '../../election/store/records.ts';
import type { MemberRecord, PauseRecord, SettingsRecord, SyncRecord } from '../../election/store/records.ts';
import type { ClusterView } from '../cluster/types.ts';
import { ActionRefused, asking } from './action-refused.ts';
import { askAgent } from './agents.ts';
import { changeSettings } from './cluster-settings.ts';

/** What an operator asks of the cluster, through any proxy. All throw ActionRefused. */
export interface ClusterActions {
  /** Puts the request down for the leader and returns; it is over when the term grew or the request is gone. */
  switchover(
    to: string | null,
  ): Promise<{ readonly id: string; readonly from: string; readonly to: string | null; readonly term: number }>;
  /** The leader gives its lease up at once, without waiting for its followers. */
  failover(): Promise<{ readonly node: string; readonly term: number }>;
  /**
   * `node` shall lead although something that was acknowledged may be lost; `by` is who consents to it, for the history. Refused by
   * the node's agent where somebody leads or could without a loss. Resolves when it has been asked to.
   */
  forceFailover(
    node: string,
    by: string,
  ): Promise<{ readonly node: string; readonly term: number; readonly loss: string }>;
  /** Stops automatic failover until `resume`. In force when it resolves. */
  pause(by: string, reason: string | null): Promise<PauseRecord>;
  resume(): Promise<{ readonly resumed: true }>;
  /** Settings of the whole cluster; null takes one back. Agents go by them as soon as they see them. */
  settings(changes: Readonly<Record<string, unknown>>, by: string): Promise<SettingsRecord>;
  /** How each term came to be, newest first, at most the last 1000. */
  history(): Promise<readonly HistoryEntry[]>;
}

export type HistoryEntry = z.input<typeof historyRecord>;

export interface ActionOptions {
  readonly store: LeaseStore;
  readonly cluster: string;
  readonly view: () => ClusterView;
  /** `cluster.apiToken`, for the agents' API. */
  readonly apiToken: string | null;
}

const STORE_DEADLINE_MS = 3000;
const MAX_HISTORY = 1000;

export function createClusterActions(options: ActionOptions): ClusterActions {
  const { store, view, apiToken } = options;
  const keys = keysOf(options.cluster);

  return {
    async switchover(to) {
      const { leader, term, members } = mustLead(view());
      if (to === leader) throw new ActionRefused(409, `${to} is the leader already`);
      if (to !== null && !members.has(to)) throw new ActionRefused(404, unknownNode(to, members));
      const id = randomUUID();
      const value = encodeRecord(switchoverRecord, { id, to, requestedAt: new Date().toISOString() });
      const result = await asking(
        store.transact(
          {
            compare: [{ type: 'create-revision', key: keys.switchover, equals: 0 }],
            then: [{ type: 'put', key: keys.switchover, value }],
          },
          { deadlineMs: STORE_DEADLINE_MS },
        ),
      );
      if (!result.succeeded) throw new ActionRefused(409, 'another switchover is under way');
      return { id, from: leader, to, term };
    },

    async failover() {
      const { leader, term, members } = mustLead(view());
      refusePaused(view(), 'a failover');
      await refuseWithoutFollower('a failover');
      await askAgent(mustBeMember(leader, members), 'failover', apiToken);
      return { node: leader, term };
    },

    async forceFailover(node, by) {
      const answer = await askAgent(mustBeMember(node, view().members), 'failover/forced', apiToken, { by });
      const { term, loss } = forcedAnswer.parse(answer);
      return { node, term, loss };
    },

    async pause(by, reason) {
      const record = {
        by: oneLine(by),
        reason: reason === null ? null : oneLine(reason),
        at: new Date().toISOString(),
      };
      const result = await asking(
        store.transact(
          {
            compare: [{ type: 'create-revision', key: keys.pause, equals: 0 }],
            then: [{ type: 'put', key: keys.pause, value: encodeRecord(pauseRecord, record) }],
          },
          { deadlineMs: STORE_DEADLINE_MS },
        ),
      );
      if (!result.succeeded) throw new ActionRefused(409, 'automatic failover is paused already');
      return record;
    },

    async resume() {
      const result = await asking(
        store.transact(
          {
            compare: [{ type: 'create-revision', key: keys.pause, equals: 0 }],
            then: [{ type: 'get', key: keys.pause }],
            otherwise: [{ type: 'delete', key: keys.pause }],
          },
          { deadlineMs: STORE_DEADLINE_MS },
        ),
      );
      if (result.succeeded) throw new ActionRefused(409, 'automatic failover is not paused');
      return { resumed: true };
    },

    settings(changes, by) {
      return asking(changeSettings(store, keys, changes, oneLine(by), STORE_DEADLINE_MS));
    },

    async history() {
      const snapshot = await asking(store.readAll(keys.historyPrefix, { deadlineMs: STORE_DEADLINE_MS }));
      const entries: HistoryEntry[] = [];
      for (const { key, value } of [...snapshot.keys.values()].sort((a, b) => (a.key < b.key ? 1 : -1))) {
        const record = decodeRecord(historyRecord, value);
        if (record === null) throw new ActionRefused(502, `the value of ${key} in etcd is damaged`);
        if (entries.length < MAX_HISTORY) entries.push(z.encode(historyRecord, record));
      }
      return entries;
    },
  };

  /** With nobody eligible, what the operator asks for would end in a cluster without a leader. */
  async function refuseWithoutFollower(what: string): Promise<void> {
    const result = await asking(
      store.transact({ compare: [], then: [{ type: 'get', key: keys.sync }] }, { deadlineMs: STORE_DEADLINE_MS }),
    );
    const value = result.gets[0]?.value;
    const problem = noSuccessor(value === undefined ? null : decodeRecord(syncRecord, value), view());
    if (problem !== null) throw new ActionRefused(409, `${what} would leave the cluster without a leader: ${problem}`);
  }
}

/** Null: some synchronous follower could take over. Else why not, for a person. */
export function noSuccessor(sync: SyncRecord | null, view: ClusterView): string | null {
  if (sync === null) return 'etcd has no durability record';
  if (sync.k === 0 || sync.members.length === 0) return `${sync.leader} has no synchronous follower`;
  const standing = sync.members.filter((name) => view.members.get(name)?.streaming === true);
  // A candidate needs the pledges of |S| − k + 1 members (S3).
  const needed = sync.members.length - sync.k + 1;
  if (standing.length >= needed) return null;
  return `${standing.length} of ${sync.members.join(', ')} stream from the leader, ${needed} must`;
}

/** In a pause nobody takes over: what would take the leader away would only be an outage. */
function refusePaused({ pause }: ClusterView, what: string): void {
  if (pause === null) return;
  const why = `automatic failover is paused ${describePause(pause)}`;
  throw new ActionRefused(409, `${what} is refused: ${why}. A switchover works; "leasehold resume" ends the pause`);
}

function mustLead(view: ClusterView): { leader: string; term: number; members: ReadonlyMap<string, MemberRecord> } {
  if (view.route === null) throw new ActionRefused(409, 'the cluster has no leader yet');
  if (view.route.hold) throw new ActionRefused(409, 'a failover or switchover is under way');
  return { leader: view.route.leader, term: Number(view.route.term), members: view.members };
}

function mustBeMember(node: string, members: ReadonlyMap<string, MemberRecord>): MemberRecord {
  const member = members.get(node);
  if (member === undefined) throw new ActionRefused(404, unknownNode(node, members));
  return member;
}

function unknownNode(node: string, members: ReadonlyMap<string, MemberRecord>): string {
  return `there is no node ${JSON.stringify(node)} now; there are ${[...members.keys()].sort().join(', ') || 'none'}`;
}

const forcedAnswer = z.looseObject({ term: z.number(), loss: z.string() });
