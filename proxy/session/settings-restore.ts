import type { Backend } from '../pool/backend.ts';
import { runInternal } from '../pool/internal-query.ts';
import { settingsDiff } from '../routing/settings-image.ts';
import { stateLost } from './errors.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import { AFTER_RESET, RESET_SQL } from './pins.ts';
import type { Session } from './session.ts';

/**
 * After a RESET: gives the server the session's start-up parameters back, before the client is told that it is ready,
 * since RESET means them and not the server's defaults. Then `done`; not if the server was lost over it.
 */
export function restoreSettings(session: Session, backend: Backend, done: () => void): void {
  const image = session.settings.image;
  const statements = settingsDiff(backend.settings ?? AFTER_RESET, image) ?? [];
  if (backend.settings === null) statements.unshift(RESET_SQL);
  if (statements.length === 0) {
    backend.settings = image;
    done();
    return;
  }
  void runInternal(backend, statements.join('; '), INTERNAL_TIMEOUT_MS).then(
    () => {
      backend.settings = image;
      backend.unnamedOwner = null;
      if (session.backend === backend) done();
    },
    (error: unknown) => {
      // The next unit tries again, elsewhere if this connection is gone.
      backend.settings = null;
      session.context.logger.warn({ event: 'settings.not-restored', error: String(error) }, 'settings not restored');
      if (session.backend !== backend) return;
      if (backend.closed && session.pins.size > 0) session.terminate(stateLost(String(error), session.pins));
      else done();
    },
  );
}
