import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** One attempt of the canary, in milliseconds of this process's clock. */
export interface Attempt {
  readonly id: number;
  readonly sentMs: number;
  readonly endedMs: number;
  /** `acknowledged`; else the SQLSTATE, or the system's code (`ECONNRESET`) where the connection broke. */
  readonly outcome: string;
}

export interface CanaryResult {
  readonly writes: readonly Attempt[];
  readonly reads: readonly Attempt[];
  /** How often a connection had to be made anew. */
  readonly reconnects: number;
  /** Ids of acknowledged writes that are not in the table: there must be none. */
  readonly missing: readonly number[];
  /** Writes whose outcome was unknown and that are in the table. */
  readonly unknownFound: number;
  /** Ids in the table that were refused for sure: there must be none. */
  readonly refusedFound: readonly number[];
}

const PACE_MS = 3;
const STATEMENT_TIMEOUT_MS = 60_000;
/** Bounds the memory of a drill that never ends. */
const MAX_ATTEMPTS = 500_000;

/** Outcomes that leave open whether the write was done: a broken connection, 08007, and the other class 08. */
export function isUnknown(outcome: string): boolean {
  return outcome !== 'acknowledged' && (!/^[0-9A-Z]{5}$/.test(outcome) || outcome.startsWith('08'));
}

/**
 * An application as users have them, watched closely: on one connection it inserts unique rows one after the other,
 * on another it reads. Nothing is retried: what the application sees is what counts.
 */
export class Canary {
  readonly #dsn: string;
  readonly #table = `leasehold_drill_${randomBytes(4).toString('hex')}`;
  readonly #stop = new AbortController();
  readonly #writes: Attempt[] = [];
  readonly #reads: Attempt[] = [];
  #reconnects = -2;
  #loops: Promise<void>[] = [];

  constructor(dsn: string) {
    this.#dsn = dsn;
  }

  /** Makes the table and starts. Throws what the connection says when there is nobody to connect to. */
  async start(): Promise<void> {
    await this.#once((client) =>
      client.query(`CREATE TABLE ${this.#table} (id bigint PRIMARY KEY, at timestamptz DEFAULT now())`),
    );
    this.#loops = [
      this.#loop(this.#writes, `INSERT INTO ${this.#table} (id) VALUES ($1)`, true),
      this.#loop(this.#reads, `SELECT max(id) FROM ${this.#table}`, false),
    ];
  }

  get acknowledged(): number {
    return this.#writes.reduce((sum, attempt) => sum + (attempt.outcome === 'acknowledged' ? 1 : 0), 0);
  }

  /** When a write sent after this moment was first acknowledged; null: not yet. */
  firstAcknowledgedAfter(ms: number): number | null {
    return this.#writes.find((write) => write.outcome === 'acknowledged' && write.sentMs > ms)?.endedMs ?? null;
  }

  /** Stops, checks every write one by one on the leader, and removes the table. */
  async finish(): Promise<CanaryResult> {
    this.#stop.abort();
    await Promise.all(this.#loops);
    const found = new Set<number>();
    await this.#once(async (client) => {
      // A transaction that may write is the leader's.
      await client.query('BEGIN');
      const result = await client.query<{ id: string }>(`SELECT id FROM ${this.#table}`);
      await client.query('COMMIT');
      for (const row of result.rows) found.add(Number(row.id));
    });
    await this.remove();
    const missing: number[] = [];
    const refusedFound: number[] = [];
    let unknownFound = 0;
    for (const { id, outcome } of this.#writes) {
      if (outcome === 'acknowledged' && !found.has(id)) missing.push(id);
      else if (isUnknown(outcome) && found.has(id)) unknownFound++;
      else if (outcome !== 'acknowledged' && !isUnknown(outcome) && found.has(id)) refusedFound.push(id);
    }
    const reconnects = Math.max(0, this.#reconnects);
    return { writes: this.#writes, reads: this.#reads, reconnects, missing, unknownFound, refusedFound };
  }

  async remove(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
    await this.#once((client) => client.query(`DROP TABLE IF EXISTS ${this.#table}`)).catch(() => {});
  }

  async #loop(attempts: Attempt[], sql: string, numbered: boolean): Promise<void> {
    const { signal } = this.#stop;
    let client: pg.Client | null = null;
    for (let id = 1; !signal.aborted && attempts.length < MAX_ATTEMPTS; id++) {
      const sentMs = performance.now();
      let outcome = 'acknowledged';
      try {
        client ??= await this.#connect();
        await client.query(sql, numbered ? [id] : []);
      } catch (error) {
        outcome = (error as { code?: string }).code ?? 'connection lost';
        if (client === null || !isAlive(client, outcome)) {
          void client?.end().catch(() => {});
          client = null;
          await sleep(50);
        }
      }
      attempts.push({ id, sentMs, endedMs: performance.now(), outcome });
      await sleep(PACE_MS, undefined, { signal }).catch(() => {});
    }
    await client?.end().catch(() => {});
  }

  async #connect(): Promise<pg.Client> {
    this.#reconnects++;
    const client = new pg.Client({
      connectionString: this.#dsn,
      application_name: 'leasehold drill',
      connectionTimeoutMillis: 30_000,
      query_timeout: STATEMENT_TIMEOUT_MS,
    });
    // The query that is under way tells; between queries the next one does.
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  async #once<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({
      connectionString: this.#dsn,
      application_name: 'leasehold drill',
      connectionTimeoutMillis: 30_000,
      query_timeout: STATEMENT_TIMEOUT_MS,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/** An error that PostgreSQL (or the proxy) answered leaves the session usable, unless it says that it ends it. */
function isAlive(client: pg.Client, outcome: string): boolean {
  const isAnswer = /^[0-9A-Z]{5}$/.test(outcome) && !/^(57P01|57P02|57P03)$/.test(outcome);
  return isAnswer && (client as unknown as { _ending?: boolean })._ending !== true;
}
