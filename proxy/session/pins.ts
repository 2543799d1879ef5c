import type { Backend } from '../pool/backend.ts';
import { runInternal } from '../pool/internal-query.ts';
import type { PinReason } from '../sql/types.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import { dropBackend, giveBack } from './give-back.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** The reasons that a server can be asked about. */
const ASKABLE: readonly PinReason[] = ['advisory-lock', 'listen', 'held-cursor'];

const STATE_SQL = `SELECT
  (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
  (SELECT count(*) FROM pg_catalog.pg_listening_channels()),
  (SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable)`;

export function shouldRecheckPins(session: Session, unit: Unit): boolean {
  return unit.plan.checksPins && ASKABLE.some((reason) => session.pins.has(reason));
}

/** Asks the server which pins still hold; the session's next input waits for the answer. */
export function recheckPins(session: Session, backend: Backend): void {
  session.phase = 'placing';
  void runInternal(backend, STATE_SQL, INTERNAL_TIMEOUT_MS).then(
    (rows) => {
      for (const [index, reason] of ASKABLE.entries()) if (rows[0]?.[index] === '0') session.pins.delete(reason);
      backend.unnamedOwner = null; // a simple query drops the unnamed statement
      session.statements.unnamed = null;
      if (session.pins.size === 0) giveBack(session);
      goOn(session);
    },
    () => {
      // Not answered: then the connection is gone, and what was pinned with it.
      session.pins.clear();
      dropBackend(session);
      goOn(session);
    },
  );
}

function goOn(session: Session): void {
  if (session.phase === 'closed') {
    dropBackend(session);
    return;
  }
  session.phase = 'idle';
  session.readOn();
}
