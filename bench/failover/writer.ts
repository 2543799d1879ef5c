import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Attempt, longestGap } from '../../proxy/drill/attempts.ts';

export interface WriterResult {
  readonly attempts: readonly Attempt[];
  /** From the last acknowledged write before the fault to the next one after it: the longest such time since `fromMs`. */
  readonly stallMs: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly reconnects: number;
}

/** Between a write's answer and the next write. */
const PAUSE_MS = 2;
/** Of an application that tries again at once: the shortest stall that a system without held writes can show. */
const RETRY_MS = 10;
const PATIENCE_MS = 90_000;
/** After the writes go on: a second outage that follows belongs to the first. */
const TAIL_MS = 1500;

/**
 * One client that appends numbers, each once, one after the other, and connects again whenever its connection is lost
 * or refuses to write.
 */
export class Writer {
  readonly #url: string;
  readonly #run: number;
  readonly #attempts: Attempt[] = [];
  #client: pg.Client | null = null;
  #connections = 0;
  #stopped = false;
  #working: Promise<void> = Promise.resolve();

  constructor(port: number, run: number) {
    this.#url = urlOf(port);
    this.#run = run;
  }

  start(): void {
    this.#working = this.#work();
  }

  /** So many writes that were sent after `sinceMs`: an answer that arrived before may be looked at only later. */
  async untilAcknowledged(count: number, sinceMs = 0): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    const seen = () => this.#attempts.filter((one) => one.outcome === 'acknowledged' && one.sentMs > sinceMs);
    while (seen().length < count) {
      if (performance.now() > endMs) throw new Error(`no write was acknowledged within ${PATIENCE_MS / 1000} s`);
      await sleep(20);
    }
  }

  /** Waits for writes to go on after `fromMs`, when the old leader was gone, and a little longer. */
  async finish(fromMs: number): Promise<WriterResult> {
    try {
      await this.untilAcknowledged(1, fromMs);
      await sleep(TAIL_MS);
    } finally {
      this.#stopped = true;
      await this.#working;
      await this.#client?.end().catch(() => undefined);
    }
    const errors: Record<string, number> = {};
    for (const { outcome } of this.#attempts)
      if (outcome !== 'acknowledged') errors[outcome] = (errors[outcome] ?? 0) + 1;
    const stallMs = longestGap(this.#attempts, fromMs) ?? Number.NaN;
    return { attempts: this.#attempts, stallMs, errors, reconnects: Math.max(0, this.#connections - 1) };
  }

  async #work(): Promise<void> {
    for (let id = 1; !this.#stopped; id += 1) {
      const sentMs = performance.now();
      const outcome = await this.#append(id);
      this.#attempts.push({ id, sentMs, endedMs: performance.now(), outcome });
      await sleep(outcome === 'acknowledged' ? PAUSE_MS : RETRY_MS);
    }
  }

  async #append(id: number): Promise<string> {
    let client = this.#client;
    try {
      client ??= await this.#connect();
      await client.query('INSERT INTO appends (run, n) VALUES ($1, $2)', [this.#run, id]);
      return 'acknowledged';
    } catch (error) {
      const { code, severity } = error as { code?: string; severity?: string };
      // A session that was told of an error and goes on is kept; one that ended, or that writes nowhere, is not.
      if (severity !== 'ERROR' || code === '25006') {
        this.#client = null;
        client?.end().catch(() => undefined);
      }
      return code ?? 'connection lost';
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.#url, connectionTimeoutMillis: 2000 });
    client.on('error', () => undefined);
    await client.connect();
    this.#connections += 1;
    this.#client = client;
    return client;
  }
}

export async function prepareAppends(port: number): Promise<void> {
  await query(port, 'CREATE TABLE appends (run int, n int, PRIMARY KEY (run, n))');
}

/** Acknowledged writes that are not in the table. */
export async function missingAppends(port: number, run: number, attempts: readonly Attempt[]): Promise<number> {
  const rows = await query(port, `/* leasehold: leader */ SELECT n FROM appends WHERE run = ${run}`);
  const found = new Set(rows.map((row) => row['n']));
  return attempts.filter(({ id, outcome }) => outcome === 'acknowledged' && !found.has(id)).length;
}

/** One statement on a connection of its own. */
export async function query(port: number, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: urlOf(port), connectionTimeoutMillis: 5000, query_timeout: 30_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return ((await client.query(sql)) as pg.QueryResult<Record<string, unknown>>).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function urlOf(port: number): string {
  return `postgres://app:app@127.0.0.1:${port}/app`;
}
