import type { AgentState } from './state.ts';
import type { Answer, Turn } from './turn.ts';

/**
 * A leader key that names this node although it does not lead: of an earlier life of the agent, or of an acquire
 * whose answer was lost and that came too late to be adopted. No PostgreSQL of that term runs here (INIT has killed
 * what it found; a follower was started as one), so the key is given back instead of running out.
 */
export function releaseOrphan(turn: Turn): void {
  const { view, mode, config, ownRevision, lease } = turn.state;
  const sure = (mode.kind === 'INIT' && mode.killed) || mode.kind === 'FOLLOWER';
  if (!sure || view === null || view.revision < ownRevision || !turn.idle('decide') || turn.now < turn.state.retryAtMs)
    return;
  const key = view.leader;
  if (key === null || key.record.node !== config.node) return;
  if (key.record.bootId === config.bootId && key.lease !== null && key.lease === lease?.id) turn.set({ lease: null });
  turn.transact('decide', 'orphan', 1000, {
    compare: [{ type: 'create-revision', key: turn.keys.leader, equals: key.createRevision }],
    then: [{ type: 'delete', key: turn.keys.leader }],
  });
}

/** A holder puts its key back on its lease with every renewal, so this is long enough for one that lives. */
const WITHOUT_LEASE_TTLS = 2;

/** From a view: since when the leader key has hung on no lease, unchanged. */
export function seenWithoutLease(turn: Turn, revision: number): AgentState['leaderWithoutLease'] {
  const before = turn.state.leaderWithoutLease;
  if (revision === 0) return null;
  return before?.revision === revision ? before : { revision, sinceMs: turn.now };
}

/**
 * A leader key without a lease is an administrator's doing, and would stand for ever if its holder died before it put
 * that right. Whoever holds it has had time enough: it is deleted, which is no more than if it had run out.
 */
export function releaseWithoutLease(turn: Turn): void {
  const { mode, config, leaderWithoutLease: seen } = turn.state;
  if (seen === null || 'lead' in mode || turn.now - seen.sinceMs < WITHOUT_LEASE_TTLS * config.ttlMs) return;
  if (!turn.idle('revoke')) return;
  turn.log('warn', 'lease.missing', 'the leader key hangs on no lease, and nobody puts that right: it is deleted');
  turn.set({ leaderWithoutLease: { ...seen, sinceMs: turn.now } });
  turn.transact('revoke', 'without-lease', 1000, {
    compare: [{ type: 'mod-revision', key: turn.keys.leader, equals: seen.revision }],
    then: [{ type: 'delete', key: turn.keys.leader }],
  });
}

export function orphanGone(turn: Turn, answer: Answer): void {
  if (answer.outcome?.type !== 'transaction') return;
  turn.set({ ownRevision: answer.outcome.revision, resignedAtMs: turn.now });
}
