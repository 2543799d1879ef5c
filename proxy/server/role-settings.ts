import { ClientError } from '../../common/errors.ts';
import type { Backend } from '../pool/backend.ts';
import { type InternalRows, runInternal } from '../pool/internal-query.ts';
import { NO_OWN, withOwn } from '../routing/own-settings.ts';
import { INTERNAL_TIMEOUT_MS } from '../session/limits.ts';
import type { Session } from '../session/session.ts';
import { noticeResponse } from '../wire/encode.ts';

/**
 * `ALTER ROLE … SET leasehold.…` and `ALTER DATABASE … SET leasehold.…`: PostgreSQL takes any name with a point in it. The more
 * specific one comes last, as in PostgreSQL (process_settings in src/backend/utils/init/postinit.c).
 */
const ROLE_SQL = `
SELECT pg_catalog.split_part(c, '=', 1), pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS c
WHERE c LIKE 'leasehold.%'
  AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
  AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
ORDER BY s.setrole <> 0, s.setdatabase <> 0`;

/** A change counts for sessions that begin so long after it; log-ins in between ask nobody. */
const FRESH_MS = 5_000;
const MAX_KNOWN = 1_000;
const known = new WeakMap<object, Map<string, { readonly rows: InternalRows; readonly atMs: number }>>();

/** What the database says of this user's settings of the proxy becomes the session's default, below what its client asked for. */
export async function adoptRoleSettings(session: Session, backend: Backend): Promise<void> {
  let own = NO_OWN;
  for (const [name, value] of await rowsFor(session, backend)) {
    if (typeof name !== 'string' || typeof value !== 'string') continue;
    try {
      own = withOwn(own, name, value);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      const { sqlState, message } = error;
      session.out.send(noticeResponse({ severity: 'WARNING', sqlState, message })); // PostgreSQL warns as well
    }
  }
  if (own !== NO_OWN) session.settings.adoptDefaults(own);
}

async function rowsFor(session: Session, backend: Backend): Promise<InternalRows> {
  const { context, client } = session;
  const key = `${client.database}\0${client.user}`;
  let byUser = known.get(context);
  if (byUser === undefined) known.set(context, (byUser = new Map()));
  const nowMs = context.clock.nowMs();
  const entry = byUser.get(key);
  if (entry !== undefined && nowMs - entry.atMs < FRESH_MS) return entry.rows;
  try {
    backend.unnamedOwner = null; // a simple query drops the unnamed statement
    const rows = await runInternal(backend, ROLE_SQL, INTERNAL_TIMEOUT_MS);
    if (byUser.size >= MAX_KNOWN) byUser.clear();
    byUser.set(key, { rows, atMs: nowMs });
    return rows;
  } catch (error) {
    if (backend.closed) throw error;
    context.logger.warn(
      { event: 'role-settings.failed', error: String(error) },
      'settings of a role could not be read',
    );
    return [];
  }
}
