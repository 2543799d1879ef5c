import type { Backend } from '../pool/backend.ts';
import { runInternal } from '../pool/internal-query.ts';
import type { PinReason } from '../sql/types.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import { stateLost } from './errors.ts';
import { dropBackend, giveBack } from './give-back.ts';
import type { Session } from './session.ts';

/** The reasons that a server can be asked about. */
const ASKABLE: readonly PinReason[] = ['advisory-lock', 'listen', 'held-cursor', 'temporary-objects'];

const STATE_SQL = `SELECT
  (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
  (SELECT count(*) FROM pg_catalog.pg_listening_channels()),
  (SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable),
  (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())
    + (SELECT count(*) FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema())
    + (SELECT count(*) FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema())`;

/**
 * After each transaction in which one may have ended: also that of a failed try-lock, of what was made and rolled back, of a
 * temporary table that was dropped or had ON COMMIT DROP.
 */
export function shouldRecheckPins(session: Session): boolean {
  return session.pinsMoved && ASKABLE.some((reason) => session.pins.has(reason));
}

/** Asks the server which pins still hold; the session's next input waits for the answer. */
export function recheckPins(session: Session, backend: Backend): void {
  session.phase = 'placing';
  backend.unnamedOwner = null; // a simple query drops the unnamed statement
  void runInternal(backend, STATE_SQL, INTERNAL_TIMEOUT_MS).then(
    (rows) => {
      for (const [index, reason] of ASKABLE.entries()) {
        if (rows[0]?.[index] === '0' && !(reason === 'temporary-objects' && makesTemporary(session)))
          session.pins.delete(reason);
      }
      if (session.pins.size === 0) giveBack(session);
      goOn(session);
    },
    (error: unknown) => {
      // Gone, and what was pinned with it. Refused (its statement_timeout, say): then the pins hold until the next time.
      if (!backend.closed) goOn(session);
      else if (session.phase === 'closed') dropBackend(session);
      else session.terminate(stateLost(`no answer about what is kept there: ${String(error)}`, session.pins));
    },
  );
}

/** Whatever is created next may be temporary: the search path begins there. */
function makesTemporary(session: Session): boolean {
  return /\bpg_temp/i.test(session.settings.valueOf('search_path') ?? '');
}

function goOn(session: Session): void {
  if (session.phase === 'closed') {
    dropBackend(session);
    return;
  }
  session.phase = 'idle';
  session.readOn();
}
