import { ClientError } from '../../common/errors.ts';
import type { RoleDefaults } from '../auth/types.ts';
import { NO_OWN, withOwn } from '../routing/own-settings.ts';
import type { Session } from '../session/session.ts';
import { noticeResponse } from '../wire/encode.ts';

const OWN = 'leasehold.';

/**
 * What ALTER ROLE and ALTER DATABASE have SET for this user. Of the proxy's own settings that is the session's default, below what its
 * client asked for. A server takes the others when a connection begins: connections from before a change are replaced, and
 * followers that do not show it yet are not for this session. Nobody can be asked: then nothing is known to have changed.
 */
export async function adoptDefaults(session: Session, signal: AbortSignal): Promise<void> {
  const { context, client } = session;
  let defaults: RoleDefaults;
  try {
    defaults = await context.roleDefaults.defaults(client.user, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    context.logger.warn(
      { event: 'role-settings.failed', error: String(error) },
      'the defaults of a role could not be read',
    );
    return;
  }
  const rows = defaults.rows.filter(({ database }) => database === null || database === client.database);
  adoptOwn(session, rows);
  if (!defaults.fromLeader) return;
  const fingerprint = JSON.stringify(rows.map(({ settings }) => settings.filter((each) => !each.startsWith(OWN))));
  const changedAtMs = context.pools.noteDefaults(client.user, client.database, fingerprint);
  session.floor.committedAtMs = Math.max(session.floor.committedAtMs, changedAtMs);
}

/** PostgreSQL takes any name with a point in it. */
function adoptOwn(session: Session, defaults: RoleDefaults['rows']): void {
  let own = NO_OWN;
  for (const setting of defaults.flatMap(({ settings }) => settings)) {
    if (!setting.startsWith(OWN)) continue;
    const equals = setting.indexOf('=');
    try {
      own = withOwn(own, setting.slice(0, equals), setting.slice(equals + 1));
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      const { sqlState, message } = error;
      session.out.send(noticeResponse({ severity: 'WARNING', sqlState, message })); // PostgreSQL warns as well
    }
  }
  if (own !== NO_OWN) session.settings.adoptDefaults(own);
}
