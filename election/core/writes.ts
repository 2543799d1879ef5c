import type { Operation } from '../store/port.ts';
import * as records from '../store/records.ts';
import type { AgentState, Lead } from './state.ts';
import type { SyncSet } from './sync-quorum.ts';
import type { Turn } from './turn.ts';

export function historyOf(
  turn: Turn,
  term: Lead['term'],
  facts: {
    readonly timeline: number;
    readonly parent: Lead['term'];
    readonly previousLeader: string | null;
    readonly promoted: boolean;
    readonly nextXid: string | null;
    readonly reason: Lead['reason'];
    readonly detail: string | null;
  },
): Operation {
  const value = records.encodeRecord(records.historyRecord, {
    term,
    leader: turn.state.config.node,
    previousLeader: facts.previousLeader,
    parent: facts.parent,
    reason: facts.reason,
    timeline: facts.timeline,
    promoted: facts.promoted,
    nextXid: facts.nextXid,
    at: turn.state.wallTime,
    detail: facts.detail,
  });
  return { type: 'put', key: turn.keys.history(term), value };
}

export function putSync(turn: Turn, term: Lead['term'], set: SyncSet, handover?: string): Operation {
  const record = { term, leader: turn.state.config.node, members: [...set.members], k: set.k };
  const value = records.encodeRecord(records.syncRecord, handover === undefined ? record : { ...record, handover });
  return { type: 'put', key: turn.keys.sync, value };
}

export function routeOf(
  turn: Turn,
  term: Lead['term'],
  route: { readonly hold: boolean; readonly seq: number; readonly nextXid: string | null },
): Operation {
  const { node, address } = turn.state.config;
  const value = records.encodeRecord(records.routeRecord, { term, leader: node, address, ...route });
  return { type: 'put', key: turn.keys.route, value };
}

export function leaderValue(config: AgentState['config'], term: Lead['term']): string {
  return records.encodeRecord(records.leaderRecord, {
    node: config.node,
    term,
    bootId: config.bootId,
    address: config.address,
  });
}
