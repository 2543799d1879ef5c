import type { Backend } from '../pool/backend.ts';
import { runInternal } from '../pool/internal-query.ts';
import { NO_SETTINGS, type SettingsImage, settingsDiff } from '../routing/settings-image.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';

/** A backend whose whole state is unknown is brought to `AFTER_RESET` by this first. */
export const RESET_SQL = 'RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL';
export const AFTER_RESET = NO_SETTINGS;

/**
 * Brings a backend with no unit in flight to the settings of the image. Rejects with the server's error (then nobody knows
 * what it has, and the next use starts with a reset), or BACKEND_LOST, BACKEND_TIMEOUT.
 */
export async function bringTo(backend: Backend, image: SettingsImage): Promise<void> {
  const statements = settingsDiff(backend.settings ?? AFTER_RESET, image) ?? [];
  if (backend.settings === null) statements.unshift(RESET_SQL);
  backend.settings = null;
  if (statements.length > 0) {
    backend.unnamedOwner = null; // a simple query drops the unnamed statement
    await runInternal(backend, statements.join('; '), INTERNAL_TIMEOUT_MS);
  }
  backend.settings = image;
}
