import type { ProxyConfig } from './schema.ts';
import { type ScopedConfig, scopedConfig } from './scoped.ts';

/** Pairs of database and user whose settings are kept; names come from clients. */
const MAX_SCOPES = 1_000;

/**
 * A proxy's configuration as it is now: a reload replaces it as a whole. Whoever can follow a change reads `current`
 * when it needs a value, or subscribes; each object in it is frozen.
 */
export class LiveConfig {
  #current: ProxyConfig;
  #version = 0;
  readonly #scopes = new Map<string, ScopedConfig>();
  readonly #listeners = new Set<(config: ProxyConfig) => void>();

  constructor(config: ProxyConfig) {
    this.#current = config;
  }

  get current(): ProxyConfig {
    return this.#current;
  }

  /** Grows with each replacement. */
  get version(): number {
    return this.#version;
  }

  /** For the sessions of one user in one database; the same object until the configuration is replaced. */
  scopeOf(database: string, user: string): ScopedConfig {
    const key = `${database}\0${user}`;
    let scope = this.#scopes.get(key);
    if (scope === undefined) {
      if (this.#scopes.size >= MAX_SCOPES) this.#scopes.clear();
      scope = scopedConfig(this.#current, database, user);
      this.#scopes.set(key, scope);
    }
    return scope;
  }

  replace(config: ProxyConfig): void {
    this.#current = config;
    this.#version += 1;
    this.#scopes.clear();
    for (const listener of this.#listeners) listener(config);
  }

  /** Called after each change; returns what ends that. */
  subscribe(listener: (config: ProxyConfig) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
