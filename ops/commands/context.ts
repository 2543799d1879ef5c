import { hostname, userInfo } from 'node:os';
import { loadConfig } from '../../common/config/load.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { ApiClient } from '../api-client.ts';
import { localToken } from '../local/registry.ts';

export const DEFAULT_API = 'http://127.0.0.1:6480';

export interface ApiOptions {
  readonly api?: string;
  /** A configuration file, for its `cluster.apiToken`. */
  readonly config?: string;
}

/** The client for `--api`, LEASEHOLD_API or the default, with the token of the configuration or of the local cluster there. */
export function openApi(options: ApiOptions): ApiClient {
  const url = options.api ?? process.env['LEASEHOLD_API'] ?? DEFAULT_API;
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) {
    throw new LeaseholdError('USAGE', `--api must be a URL such as ${DEFAULT_API}, not "${url}"`);
  }
  const { config } = loadConfig({ file: options.config });
  return new ApiClient({ url, token: config.cluster.apiToken ?? localToken(url) });
}

/** Aborts on SIGINT, SIGTERM, SIGHUP, and when a parent that holds us by an IPC channel is gone. */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const abort = () => controller.abort(new Error('asked to stop'));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, abort);
  process.on('disconnect', abort);
  process.channel?.unref();
  return controller.signal;
}

/** For people: what they read is cut short by a closed pipe (`| head`), which is no error. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Who asks, for what the cluster keeps: `user@host`. */
export function whoAsks(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `uid ${process.getuid?.() ?? '?'}@${hostname()}`; // a user without a name
  }
}
