import type { Backend } from '../pool/backend.ts';
import { exchangeInternal, runInternal } from '../pool/internal-query.ts';
import { NO_SETTINGS, quoteLiteral, type SettingsImage, settingsDiff } from '../routing/settings-image.ts';
import { SYNC } from '../wire/encode.ts';
import { sqlMessages } from './align.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import type { Session } from './session.ts';

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

/**
 * Gives the server the session's start-up values again where a RESET took them, in a transaction that may be open. Rejects as `bringTo`
 * does, and then nobody knows what the server has.
 */
export async function restoreStartup(session: Session, backend: Backend): Promise<void> {
  const { resets, settings, unit } = session;
  const statements: string[] = [];
  // Something may have been set behind it by a statement that nobody follows: that holds.
  const unseen = unit?.plan.pins.includes('session-state') === true || unit?.plan.runsCode === true;
  for (const [name, how] of resets) {
    const value = settings.startupValueOf(name);
    if (how !== 'local' && value !== undefined) statements.push(setSql(name, value, false, unseen));
    const localValue = settings.localValueOf(name);
    if (localValue !== undefined) statements.push(setSql(name, localValue, true, false));
  }
  resets.clear();
  if (statements.length === 0) return;
  const { settings: known } = backend;
  backend.settings = null;
  await exchangeInternal(backend, Buffer.concat([...statements.flatMap(sqlMessages), SYNC]), INTERNAL_TIMEOUT_MS);
  backend.settings = known;
}

function setSql(name: string, value: string, local: boolean, unlessSet: boolean): string {
  const set = `SELECT pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, ${local})`;
  if (!unlessSet) return set;
  const found = `SELECT FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) = ${quoteLiteral(name)} AND setting IS DISTINCT FROM reset_val`;
  return `${set} WHERE NOT EXISTS (${found})`;
}
