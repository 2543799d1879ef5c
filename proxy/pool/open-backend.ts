import { NO_SETTINGS } from '../routing/settings-image.ts';
import { Backend, type BackendOwner } from './backend.ts';
import type { PoolHost, PoolOptions } from './pool-host.ts';

/** Connections live for this share of their lifetime at least. */
const MIN_LIFE_SHARE = 0.9;

/** Logs in. Rejects as `loginToBackend`. The owner hears of the connection's end. */
export async function openBackend(
  owner: BackendOwner & { readonly renewedAtMs: number },
  host: PoolHost,
  options: Omit<PoolOptions, 'limits'>,
  limits: { readonly signal: AbortSignal; readonly connectTimeoutMs: number },
): Promise<Backend> {
  const { place, user, database, credentials } = options;
  const { tls } = host;
  const startedAtMs = host.clock.nowMs();
  const parameters = new Map([['client_encoding', 'UTF8']]);
  const target = { host: place.host, port: place.port, user, database, credentials, parameters, tls };
  const login = await host.login(target, limits);
  const backend = new Backend(login, place, owner, NO_SETTINGS, host.clock.nowMs(), 'encrypted' in login.socket);
  backend.lifeShare = MIN_LIFE_SHARE + (1 - MIN_LIFE_SHARE) * host.random();
  // A reload, or a change of its defaults, replaced it meanwhile.
  if (tls !== host.tls || owner.renewedAtMs > startedAtMs) backend.retireAtMs = -Infinity;
  return backend;
}
