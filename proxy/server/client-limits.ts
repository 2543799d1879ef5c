import type { ProxyConfig } from '../../common/config/schema.ts';
import { own } from '../../common/config/scoped.ts';
import { ClientError } from '../../common/errors.ts';

/** Who is here: a client, or one that asks to come in. */
export interface Guest {
  readonly user: string;
  readonly database: string;
}

/** Why one more client may not come in; null: it may. `all` counts those that are no sessions too. */
export function tooManyClients(
  config: ProxyConfig,
  all: number,
  sessions: Iterable<{ readonly client: Guest }>,
  guest: Guest,
): ClientError | null {
  if (all >= config.maxClients) return full('This proxy serves', config.maxClients, 'proxy.maxClients');
  const { user, database } = guest;
  const ofUser = own(config.users, user)?.maxClients ?? Infinity;
  const ofDatabase = own(config.databases, database)?.maxClients ?? Infinity;
  if (ofUser === Infinity && ofDatabase === Infinity) return null;
  let sameUser = 0;
  let sameDatabase = 0;
  for (const { client } of sessions) {
    if (client.user === user) sameUser += 1;
    if (client.database === database) sameDatabase += 1;
  }
  if (sameUser >= ofUser) return full(`User "${user}" may have`, ofUser, `proxy.users.${user}.maxClients`);
  if (sameDatabase < ofDatabase) return null;
  return full(`Database "${database}" may have`, ofDatabase, `proxy.databases.${database}.maxClients`);
}

function full(whose: string, limit: number, setting: string): ClientError {
  return new ClientError({
    sqlState: '53300',
    severity: 'FATAL',
    message: 'sorry, too many clients already',
    detail: `${whose} ${limit} clients at most.`,
    hint: `Raise ${setting}, or close connections that are not used.`,
    safeToRetry: true,
  });
}
