import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { RouteRecord } from '../../election/store/records.ts';

export interface WriterReport {
  readonly acknowledged: number;
  /** Between two acknowledged writes that followed each other. */
  readonly longestStallMs: number;
  /** Acknowledged numbers that the leader does not have. */
  readonly lost: readonly number[];
}

let nextId = 0;

/**
 * Writes one number after the other straight to the node that the route names, as a proxy would, but without holding:
 * a write that fails is left, and the next number is tried where the route leads then.
 */
export class Writer {
  readonly #route: () => RouteRecord | null;
  readonly #acknowledged: number[] = [];
  readonly #done: Promise<void>;
  #running = true;
  #longestStallMs = 0;

  constructor(route: () => RouteRecord | null) {
    this.#route = route;
    this.#done = this.#work();
  }

  get acknowledged(): number {
    return this.#acknowledged.length;
  }

  /** Forgets the stalls so far. */
  resetStall(): void {
    this.#longestStallMs = 0;
  }

  async stop(): Promise<WriterReport> {
    this.#running = false;
    await this.#done;
    const client = await connect(this.#route() as RouteRecord);
    const { rows } = await client.query<{ id: number }>('SELECT id FROM written');
    await client.end();
    const found = new Set(rows.map((row) => row.id));
    return {
      acknowledged: this.#acknowledged.length,
      longestStallMs: this.#longestStallMs,
      lost: this.#acknowledged.filter((id) => !found.has(id)),
    };
  }

  async #work(): Promise<void> {
    let client: pg.Client | null = null;
    let term = -1n;
    let lastMs = performance.now();
    while (this.#running) {
      const id = nextId++;
      const route = this.#route();
      if (route === null) {
        await sleep(2);
        continue;
      }
      try {
        if (client === null || route.term !== term) {
          void client?.end().catch(() => {});
          client = await connect(route);
          term = route.term;
        }
        let cancelled = false;
        const onNotice = () => {
          cancelled = true;
        };
        client.on('notice', onNotice);
        await client.query('INSERT INTO written VALUES ($1)', [id]);
        client.off('notice', onNotice);
        // A synchronous wait that was cancelled answers success with a warning.
        if (cancelled) continue;
        this.#acknowledged.push(id);
        const nowMs = performance.now();
        this.#longestStallMs = Math.max(this.#longestStallMs, nowMs - lastMs);
        lastMs = nowMs;
      } catch {
        void client?.end().catch(() => {});
        client = null;
        await sleep(2);
      }
    }
    await client?.end().catch(() => {});
  }
}

export async function connect({ address }: Pick<RouteRecord, 'address'>): Promise<pg.Client> {
  const client = new pg.Client({
    host: address.host,
    port: address.port,
    user: 'app',
    password: 'app',
    database: 'app',
    connectionTimeoutMillis: 1000,
    query_timeout: 5000,
  });
  client.on('error', () => {});
  await client.connect();
  return client;
}
