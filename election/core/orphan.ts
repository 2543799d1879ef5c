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

export function orphanGone(turn: Turn, answer: Answer): void {
  if (answer.outcome?.type !== 'transaction') return;
  turn.set({ ownRevision: answer.outcome.revision, resignedAtMs: turn.now });
}
