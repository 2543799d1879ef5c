import { type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { LiveConfig } from '../../common/config/live.ts';
import type { ProxyConfig } from '../../common/config/schema.ts';
import { ConfigError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import type { ClientTls } from '../auth/connection.ts';
import { loadPolicy } from '../auth/load-policy.ts';
import type { AuthPolicy } from '../auth/policy.ts';
import type { BackendTls } from '../auth/types.ts';
import { backendTls, clientTls } from './tls.ts';

/** What files say of who may log in and how: certificates, rules, maps. Replaced as a whole. */
export interface AuthState {
  /** Null: no TLS for clients. */
  readonly tls: ClientTls | null;
  readonly serverTls: BackendTls;
  readonly policy: AuthPolicy;
}

/** How often files are looked at. A change counts when it has been the same twice, so that nothing is read half written. */
const LOOK_MS = 1_000;

/**
 * Holds the state and renews it when the configuration is replaced or a file changes on disk (as cert-manager changes
 * them). Files with faults are logged once, and what was in force stays. Throws LeaseholdError `CONFIG` when it is made of such.
 */
export class LiveAuth {
  readonly #live: LiveConfig;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  readonly #unsubscribe: () => void;
  readonly #listeners = new Set<() => void>();
  #current: AuthState;
  #files: readonly string[];
  /** What the files looked like when they were read, and at the last look. */
  #read: string;
  #seen: string;
  #looking = false;

  constructor(live: LiveConfig, logger: Logger, lookMs = LOOK_MS) {
    this.#live = live;
    this.#logger = logger;
    const files = new Set<string>();
    this.#current = loadAuth(live.current, files);
    this.#files = [...files];
    this.#read = this.#seen = looksNow(this.#files);
    this.#unsubscribe = live.subscribe(() => this.reload());
    this.#timer = setInterval(() => void this.#look(), lookMs);
    this.#timer.unref();
  }

  get current(): AuthState {
    return this.#current;
  }

  /** Called after each change, with the new state in `current`. */
  subscribe(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Reads everything again. False: there are faults, which were logged, and what was in force stays. */
  reload(): boolean {
    const files = new Set<string>();
    let state: AuthState | null = null;
    try {
      state = loadAuth(this.#live.current, files);
    } catch (error) {
      const faults = error instanceof ConfigError ? error.faults : [];
      this.#logger.error(
        { event: 'auth.reload-refused', faults, error: String(error) },
        'certificates or rules have faults: those in force stay',
      );
    }
    // What has faults is watched as well: mended, it is read again; left as it is, it is not.
    this.#files = [...files];
    this.#read = this.#seen = looksNow(this.#files);
    if (state === null) return false;
    this.#current = state;
    this.#logger.info({ event: 'auth.reloaded', files: this.#files }, 'certificates and rules were read again');
    for (const listener of this.#listeners) listener();
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#unsubscribe();
  }

  async #look(): Promise<void> {
    if (this.#looking) return; // a file system that hangs is asked once
    this.#looking = true;
    const files = this.#files;
    const looks = (await Promise.all(files.map((file) => lookOf(file)))).join('\n');
    this.#looking = false;
    if (files !== this.#files) return; // a reload came in between
    const settled = looks === this.#seen;
    this.#seen = looks;
    if (!settled || looks === this.#read) return;
    this.reload();
  }
}

/** Throws ConfigError with the faults that were found. Notes in `files` all that it depends on. */
export function loadAuth(proxy: ProxyConfig, files = new Set<string>()): AuthState {
  const { tls, serverTls } = proxy;
  const named = [tls?.certFile, tls?.keyFile, tls?.clientCaFile, tls?.crlFile];
  const ofServers = [serverTls.caFile, serverTls.crlFile, serverTls.certFile, serverTls.keyFile];
  for (const file of [...named, ...ofServers]) if (file !== undefined) files.add(file);
  const policy = loadPolicy(proxy, files);
  return { tls: clientTls(proxy), serverTls: backendTls(proxy), policy };
}

/** Another file, another time or another size is another content. Links are followed. */
async function lookOf(file: string): Promise<string> {
  return describe(file, await stat(file).catch(() => null));
}

function looksNow(files: readonly string[]): string {
  return files.map((file) => describe(file, statOf(file))).join('\n');
}

function statOf(file: string): Stats | null {
  try {
    return statSync(file);
  } catch {
    return null;
  }
}

function describe(file: string, stats: Stats | null): string {
  return stats === null ? `${file} -` : `${file} ${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}
