import type { Session } from './session.ts';

/**
 * This proxy cannot confirm any more that the leader leads, and has not for some time. If it does, other proxies write there, and meet the locks of
 * transactions that cannot go on here: those end (40001), once their server has answered what it was asked. A COMMIT that is on its way is left alone.
 */
export function endUnconfirmed(session: Session, reason: string): void {
  const { backend, phase, transaction } = session;
  if (backend === null || backend.place.role !== 'leader') return;
  const idle = phase === 'idle' || phase === 'gathering' || (phase === 'placing' && session.waiting !== null);
  const unsynced = phase === 'open' && session.exchange.done; // an implicit transaction, and the client's turn
  if ((idle && transaction.kind === 'open') || unsynced) backend.lose(reason);
}
