import { NO_TERM, type Term } from '../../common/lsn.ts';
import type { PeerAddress, PostgresSample } from '../postgres/port.ts';
import type { LeaderRecord, PauseRecord } from '../store/records.ts';
import type { AgentState, Lead } from './state.ts';
import { rulesOf } from './rules.ts';

/**
 * The leader, if it is certain to hold everything that was acknowledged: its route is open (or held for a planned
 * switchover) and the durability record is of its term. Only from such a one is data replaced (never erase the most
 * advanced copy while it is the only one).
 */
export function openLeader(state: AgentState): LeaderRecord | null {
  const { view } = state;
  const leader = view?.leader?.record;
  if (view === null || leader === undefined || leader.node === state.config.node) return null;
  const member = view.members.get(leader.node);
  // Held for want of followers (withoutFollower: hold), which may first have to copy from it: it is open to copies.
  const waits = member?.state === 'LEADER_HELD' && member.confirmed === true;
  const open = member?.term === leader.term && (member.state === 'LEADER_OPEN' || waits);
  const ruled = view.route?.term === leader.term && view.sync?.record.term === leader.term;
  return open && ruled && leader.term >= maxTerm(state) ? leader : null;
}

/** Below this term this node takes no WAL from anybody. Its own disk says so, or what it once published. */
export function maxTerm(state: AgentState): Term {
  const local = state.local.pledge?.term ?? NO_TERM;
  const published = state.view?.pledges.get(state.config.node)?.record.term ?? NO_TERM;
  return local > published ? local : published;
}

/**
 * The standbys that stream from this leader and whose agents have agreed to its term. A standby whose agent is
 * stopped may go on streaming from a node that is elected again: what it acknowledges, its own pledge would not claim.
 */
export function streamingByConsent(state: AgentState): PostgresSample['standbys'] {
  return state.server.sample?.standbys.filter((s) => s.state === 'streaming' && consents(state, s.node)) ?? [];
}

/**
 * Its agent has the term of the present lead on its disk as what the data follows, or will have before it follows: a
 * pledge has taken PostgreSQL off whatever it streamed from.
 */
export function consents(state: AgentState, node: string): boolean {
  if (!('lead' in state.mode) || state.view === null) return false;
  const { term } = state.mode.lead;
  const member = state.view.members.get(node);
  const pledged = state.view.pledges.get(node)?.record.term ?? NO_TERM;
  return pledged >= term || (member?.state === 'FOLLOWER' && member.term === term);
}

/** Accepts no writes before it has as many synchronous followers as are wanted (`withoutFollower: hold`). */
export function lacksFollowers(state: AgentState, lead: Lead): boolean {
  const { syncAcks, withoutFollower } = rulesOf(state);
  return withoutFollower === 'hold' && lead.recorded.k < syncAcks;
}

/** By whom, since when, why. */
export function describePause({ by, reason, at }: PauseRecord): string {
  return `by ${by} since ${at}${reason === null ? '' : `: ${reason}`}`;
}

export function peerOf(leader: LeaderRecord): PeerAddress {
  return { node: leader.node, term: leader.term, host: leader.address.host, port: leader.address.port };
}
