import type { Backend } from '../pool/backend.ts';
import { resetAndGive } from './home.ts';
import type { Session } from './session.ts';

/** Back to the pool, clean; or, under session pooling, to where the session finds it again. */
export function giveBack(session: Session): void {
  const { backend, pool } = session;
  session.backend = null;
  session.pool = null;
  if (backend === null || pool === null) return;
  const keeps = session.home.keeps(backend);
  // Then it may have settings that nobody has noted: all of them are reset before its next use.
  if (session.settings.overflowed || (session.ranCode && !keeps)) backend.settings = null;
  if (!keeps) session.ranCode = false;
  // Some function of this database sets what the proxy cannot see: only the same session may find it.
  if (session.context.catalogOf(session.client.database).settersExist !== false) backend.doubtedBy = session.processId;
  if (!keeps) pool.give(backend);
  else if (session.phase === 'closed') resetAndGive(backend, pool);
  else session.home.park(backend, pool);
}

/** What is on the connection is of no use to anybody else. */
export function dropBackend(session: Session): void {
  const { backend } = session;
  session.backend = null;
  session.pool = null;
  session.copyPart = false;
  session.pass?.leave();
  session.pass = null;
  backend?.destroy();
}

/** A server that another session may have left with settings that nobody saw is reset before its next use. */
export function settleDoubt(session: Session, backend: Backend): void {
  if (backend.doubtedBy !== null && backend.doubtedBy !== session.processId) backend.settings = null;
  backend.doubtedBy = null;
}
