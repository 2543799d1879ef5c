import { NO_TERM, type Term } from '../../common/lsn.ts';
import type { PeerAddress } from '../postgres/port.ts';
import type { LeaderRecord } from '../store/records.ts';
import type { AgentState } from './state.ts';

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
  const open = member !== undefined && member.term === leader.term && member.state === 'LEADER_OPEN';
  const ruled = view.route?.term === leader.term && view.sync?.record.term === leader.term;
  return open && ruled && leader.term >= maxTerm(state) ? leader : null;
}

/** Below this term this node takes no WAL from anybody. Its own disk says so, or what it once published. */
export function maxTerm(state: AgentState): Term {
  const local = state.local.pledge?.term ?? NO_TERM;
  const published = state.view?.pledges.get(state.config.node)?.record.term ?? NO_TERM;
  return local > published ? local : published;
}

export function peerOf(leader: LeaderRecord): PeerAddress {
  return { node: leader.node, host: leader.address.host, port: leader.address.port };
}
