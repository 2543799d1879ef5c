import { CATALOG_SQL, FINGERPRINT_SQL } from './catalog-queries.ts';
import { SAFE_VOLATILE } from './functions.ts';
import type { VolatilityCatalog } from './types.ts';

/** Runs one read on the database's leader (any follower that is fresh enough will do) and gives its rows as text. */
export type CatalogQuery = (sql: string, signal: AbortSignal) => Promise<readonly (readonly (string | null)[])[]>;

type Volatility = 'immutable' | 'stable' | 'volatile';

interface Contents {
  /** `schema.name` and `name` alone to the strongest volatility. */
  readonly functions: ReadonlyMap<string, Volatility>;
  readonly operator: ReadonlySet<string>;
  readonly type: ReadonlySet<string>;
  readonly attribute: ReadonlySet<string>;
  readonly relation: ReadonlySet<string>;
  readonly setter: ReadonlySet<string>;
}

const EMPTY: Contents = {
  functions: new Map(),
  operator: new Set(),
  type: new Set(),
  attribute: new Set(),
  relation: new Set(),
  setter: new Set(),
};

/** Volatility is not looked up: user functions are `unknown` until `refresh` has succeeded once. */
export interface LoadedCatalog extends VolatilityCatalog {
  /**
   * Reads the catalog if it has changed since the last time, at the cost of one small query if not. Call it when the first
   * session of the database comes, after `invalidate`, and every `CATALOG_PERIOD_MS`; calls while one runs share it. Rejects
   * with the query's error; what was known before stays, unless it was invalidated.
   */
  refresh(signal: AbortSignal): Promise<void>;
  /**
   * Forgets what may have changed: call it when a transaction with a statement of reason `ddl` has *ended*
   * (before that others cannot see it, and what was read would be the old state).
   */
  invalidate(): void;
  readonly loaded: boolean;
}

export const CATALOG_PERIOD_MS = 30_000;
/** Rows that are read at most; a database with more user functions than this sends calls of the rest to the leader. */
const MAX_ROWS = 200_000;

/** The catalog of one database, empty at first. It has no timer of its own. */
export function createVolatilityCatalog(options: { readonly query: CatalogQuery }): LoadedCatalog {
  return new Catalog(options.query);
}

class Catalog implements LoadedCatalog {
  readonly #query: CatalogQuery;
  #contents = EMPTY;
  #loaded = false;
  #version = 0;
  #fingerprint: string | null = null;
  /** Grows with each `invalidate`: what was read before one is not believed after it. */
  #generation = 0;
  #running: Promise<void> | null = null;

  constructor(query: CatalogQuery) {
    this.#query = query;
  }

  get version(): number {
    return this.#version;
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  volatilityOf(schema: string | null, name: string): Volatility | 'unknown' {
    if (!this.#loaded) return 'unknown';
    return this.#contents.functions.get(keyOf(schema, name)) ?? 'unknown';
  }

  isVolatile(kind: 'operator' | 'type' | 'relation' | 'attribute', schema: string | null, name: string): boolean {
    const names = this.#contents[kind];
    // Nearly always empty: then no key is put together.
    return names.size > 0 && names.has(kind === 'relation' ? keyOf(schema, name) : name);
  }

  get settersExist(): boolean {
    return !this.#loaded || this.#contents.setter.size > 0;
  }

  isSetter(schema: string | null, name: string): boolean {
    const { setter } = this.#contents;
    return setter.size > 0 && setter.has(keyOf(schema, name));
  }

  invalidate(): void {
    this.#generation += 1;
    this.#version += 1;
    this.#loaded = false;
    this.#fingerprint = null;
  }

  refresh(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#refresh(signal).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    // Once more if it was invalidated meanwhile; twice is for the next call.
    for (let round = 0; round < 2; round += 1) {
      const generation = this.#generation;
      const fingerprint = (await this.#query(FINGERPRINT_SQL, signal))[0]?.[0] ?? null;
      if (fingerprint !== null && fingerprint === this.#fingerprint) return;
      const contents = contentsOf(await this.#query(CATALOG_SQL, signal));
      if (generation !== this.#generation) continue;
      this.#contents = contents;
      this.#fingerprint = fingerprint;
      this.#loaded = true;
      this.#version += 1;
      return;
    }
  }
}

/** Rows of CATALOG_SQL: kind, schema, name, volatility. */
function contentsOf(rows: readonly (readonly (string | null)[])[]): Contents {
  const functions = new Map<string, Volatility>();
  const sets = {
    operator: new Set<string>(),
    type: new Set<string>(),
    relation: new Set<string>(),
    attribute: new Set<string>(),
    setter: new Set<string>(),
  };
  for (const [kind, schema, name, volatility] of rows.slice(0, MAX_ROWS)) {
    if (schema === null || schema === undefined || name === null || name === undefined) continue;
    if (kind === 'function') addFunction(functions, schema, name, volatility ?? 'v');
    else if (kind === 'relation' || kind === 'setter') sets[kind].add(keyOf(schema, name)).add(keyOf(null, name));
    else if (kind === 'operator' || kind === 'type' || kind === 'attribute') sets[kind].add(name);
  }
  return { functions, ...sets };
}

const STRENGTH: Record<Volatility, number> = { immutable: 0, stable: 1, volatile: 2 };

function addFunction(functions: Map<string, Volatility>, schema: string, name: string, code: string): void {
  const safe = schema === 'pg_catalog' && SAFE_VOLATILE.has(name);
  const volatility = code === 'i' ? 'immutable' : code === 's' || safe ? 'stable' : 'volatile';
  for (const key of [keyOf(schema, name), keyOf(null, name)]) {
    const known = functions.get(key);
    if (known === undefined || STRENGTH[known] < STRENGTH[volatility]) functions.set(key, volatility);
  }
}

/** No name has a zero byte. */
function keyOf(schema: string | null, name: string): string {
  return schema === null ? name : `${schema}\0${name}`;
}
