import { LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import type { ServiceConfig } from '../../common/config/schema.ts';
import type { ReplicationMonitor } from '../../replication-monitor/types.ts';
import type { LeaseView } from '../cluster/types.ts';
import type { BackendPlace } from '../pool/place.ts';
import { type InternalRows, runInternal } from '../pool/internal-query.ts';
import type { PoolSet } from '../pool/pool-set.ts';
import { CATALOG_PERIOD_MS, createVolatilityCatalog, type LoadedCatalog } from '../sql/catalog.ts';

export interface CatalogsOptions {
  readonly service: ServiceConfig;
  readonly lease: LeaseView;
  readonly monitor: ReplicationMonitor;
  readonly pools: PoolSet;
  readonly logger: Logger;
}

const QUERY_TIMEOUT_MS = 10_000;
const MAX_ROWS = 250_000;
/** Databases whose catalogs are kept; clients of more share nothing but are served. */
const MAX_DATABASES = 200;
/** After an invalidation: soon, but one reading for a burst of DDL. */
const REFRESH_SOON_MS = 100;

/** The volatility catalogs of all databases that clients use, read with the service role and kept up to date. */
export class Catalogs {
  readonly #options: CatalogsOptions;
  readonly #byDatabase = new Map<string, LoadedCatalog>();
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #soon = new Set<LoadedCatalog>();

  constructor(options: CatalogsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      for (const [database, catalog] of this.#byDatabase) this.#refresh(database, catalog);
    }, CATALOG_PERIOD_MS);
    this.#timer.unref();
  }

  of(database: string): LoadedCatalog {
    let catalog = this.#byDatabase.get(database);
    if (catalog !== undefined) return catalog;
    catalog = createVolatilityCatalog({ query: (sql, signal) => this.#query(database, sql, signal) });
    if (this.#byDatabase.size >= MAX_DATABASES) {
      const oldest = this.#byDatabase.keys().next();
      if (oldest.done !== true) this.#byDatabase.delete(oldest.value);
    }
    this.#byDatabase.set(database, catalog);
    this.#invalidateThenRefresh(database, catalog);
    this.#refresh(database, catalog);
    return catalog;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#abort.abort(new Error('the proxy is shutting down'));
  }

  /** An invalidated catalog knows nothing until it is read again: that happens by itself. */
  #invalidateThenRefresh(database: string, catalog: LoadedCatalog): void {
    const invalidate = catalog.invalidate.bind(catalog);
    catalog.invalidate = () => {
      invalidate();
      if (this.#soon.has(catalog)) return;
      this.#soon.add(catalog);
      setTimeout(() => {
        this.#soon.delete(catalog);
        this.#refresh(database, catalog);
      }, REFRESH_SOON_MS).unref();
    };
  }

  #refresh(database: string, catalog: LoadedCatalog): void {
    catalog.refresh(this.#abort.signal).catch((error: unknown) => {
      if (this.#abort.signal.aborted) return;
      this.#options.logger.warn(
        { event: 'catalog.failed', database, error: String(error) },
        'the function catalog could not be read: calls of user functions go to the leader',
      );
    });
  }

  async #query(database: string, sql: string, signal: AbortSignal): Promise<InternalRows> {
    const { pools, service } = this.#options;
    const place = this.#place();
    if (place === null) throw new LeaseholdError('NO_SERVER', 'no server to read the catalog from');
    const credentials = { kind: 'password' as const, password: service.password };
    const pool = pools.poolOf(place, service.user, database, credentials);
    const backend = await pool.take(signal);
    try {
      return await runInternal(backend, sql, QUERY_TIMEOUT_MS, MAX_ROWS);
    } finally {
      pool.give(backend);
    }
  }

  #place(): BackendPlace | null {
    const leader = this.#options.lease.leader();
    if (leader !== null) {
      const { node, host, port, term } = leader;
      return { node, host, port, role: 'leader', term };
    }
    for (const { node, host, port, usable } of this.#options.monitor.snapshot.nodes.values()) {
      if (usable) return { node, host, port, role: 'follower', term: null };
    }
    return null;
  }
}
