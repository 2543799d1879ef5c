import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { GuardedSocket } from '../../common/guarded-socket.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { type Attempt, isUnknown } from './attempts.ts';

export interface CanaryResult {
  /** The writes were looked up. False: the three counts of what was found mean nothing. */
  readonly checked: boolean;
  readonly writes: readonly Attempt[];
  readonly reads: readonly Attempt[];
  /** Reads of a session after its own acknowledged write: how many, and how many did not show it. */
  readonly ownReads: number;
  readonly stale: number;
  /** Reads that showed less than an earlier one of the same session. */
  readonly backwards: number;
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
const OWN_PACE_MS = 20;
const STATEMENT_TIMEOUT_MS = 60_000;
const CONNECT_MS = 30_000;
/** Bounds the memory of a drill that never ends. */
const MAX_ATTEMPTS = 200_000;
/** The ids of the session that reads what it has just written. */
const OWN_IDS = 1_000_000_000;
const TABLE = 'leasehold_drill_';

/**
 * An application as users have them, watched closely: on one connection it inserts unique rows one after the other, on another it reads,
 * and on a third it reads what it has just written. Nothing is retried: what the application sees is what counts.
 */
export class Canary {
  readonly #urls: readonly string[];
  readonly #table = `${TABLE}${randomBytes(4).toString('hex')}`;
  readonly #stop = new AbortController();
  readonly #writes: Attempt[] = [];
  readonly #own: Attempt[] = [];
  readonly #reads: Attempt[] = [];
  #reconnects = -3;
  #ownReads = 0;
  #stale = 0;
  #backwards = 0;
  #loops: Promise<void>[] = [];

  /** Connection strings, tried in order each time a connection is made. Never logged. */
  constructor(urls: readonly string[]) {
    this.#urls = urls;
  }

  /** Makes the table and starts. Throws LeaseholdError `CANARY` with what the server or the connection said. */
  async start(): Promise<void> {
    try {
      await this.#once(async (client) => {
        await dropLeftOvers(client);
        await client.query(`CREATE TABLE ${this.#table} (id bigint PRIMARY KEY, at timestamptz DEFAULT now())`);
      });
    } catch (error) {
      const reason = (error as Error).message || (error as { code?: string }).code;
      throw new LeaseholdError('CANARY', `the canary cannot use ${this.#shown()}: ${reason}`, error);
    }
    this.#loops = [this.#write(), this.#read(), this.#readOwn()];
  }

  get acknowledged(): number {
    return countDone(this.#writes) + countDone(this.#own);
  }

  /** When a write sent after this moment was first acknowledged; null: not yet. */
  firstAcknowledgedAfter(ms: number): number | null {
    return this.#writes.findLast((write) => write.outcome === 'acknowledged' && write.sentMs > ms)?.endedMs ?? null;
  }

  /** Stops, checks every write one by one on the leader, and removes the table. Never rejects: see `checked`. */
  async finish(): Promise<CanaryResult> {
    await this.#end();
    const found = new Set<number>();
    const checked = await this.#once(async (client) => {
      // A transaction that may write is the leader's.
      await client.query('BEGIN');
      const result = await client.query<{ id: string }>(`SELECT id FROM ${this.#table}`);
      await client.query('COMMIT');
      for (const row of result.rows) found.add(Number(row.id));
      return true;
    }).catch(() => false);
    await this.remove();
    if (!checked) return { ...this.#seen(), checked, missing: [], unknownFound: 0, refusedFound: [] };
    const missing: number[] = [];
    const refusedFound: number[] = [];
    let unknownFound = 0;
    for (const { id, outcome } of [...this.#writes, ...this.#own]) {
      if (outcome === 'acknowledged' && !found.has(id)) missing.push(id);
      else if (isUnknown(outcome) && found.has(id)) unknownFound++;
      else if (outcome !== 'acknowledged' && !isUnknown(outcome) && found.has(id)) refusedFound.push(id);
    }
    return { ...this.#seen(), checked, missing, unknownFound, refusedFound };
  }

  #seen(): Omit<CanaryResult, 'checked' | 'missing' | 'unknownFound' | 'refusedFound'> {
    return {
      writes: this.#writes,
      reads: this.#reads,
      ownReads: this.#ownReads,
      stale: this.#stale,
      backwards: this.#backwards,
      reconnects: Math.max(0, this.#reconnects),
    };
  }

  /** Stops and removes the table where that can be done; one that stays is removed by the next drill. Never rejects. */
  async remove(): Promise<void> {
    await this.#end();
    await this.#once((client) => client.query(`DROP TABLE IF EXISTS ${this.#table}`)).catch(() => {});
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
  }

  #write(): Promise<void> {
    const sql = `INSERT INTO ${this.#table} (id) VALUES ($1)`;
    return this.#loop(this.#writes, PACE_MS, 0, async (client, id) => void (await client.query(sql, [id])));
  }

  #read(): Promise<void> {
    let seen = 0;
    return this.#loop(
      this.#reads,
      PACE_MS,
      0,
      async (client) => {
        const shown = await readMax(client, `SELECT max(id) FROM ${this.#table} WHERE id < ${OWN_IDS}`);
        if (shown < seen) this.#backwards += 1;
        seen = Math.max(seen, shown);
      },
      () => {
        seen = 0; // a new session has seen nothing
      },
    );
  }

  #readOwn(): Promise<void> {
    const insert = `INSERT INTO ${this.#table} (id) VALUES ($1)`;
    const select = `SELECT max(id) FROM ${this.#table} WHERE id > ${OWN_IDS}`;
    return this.#loop(this.#own, OWN_PACE_MS, OWN_IDS, async (client, id) => {
      await client.query(insert, [id]);
      // The write is acknowledged, whatever becomes of the read.
      const shown = await readMax(client, select).catch(() => null);
      if (shown === null) return;
      this.#ownReads += 1;
      if (shown < id) this.#stale += 1;
    });
  }

  async #loop(
    attempts: Attempt[],
    paceMs: number,
    offset: number,
    work: (client: pg.Client, id: number) => Promise<void>,
    onNewSession: () => void = () => {},
  ): Promise<void> {
    const { signal } = this.#stop;
    let client: pg.Client | null = null;
    for (let n = 1; !signal.aborted && attempts.length < MAX_ATTEMPTS; n++) {
      const sentMs = performance.now();
      let outcome = 'acknowledged';
      try {
        if (client === null) {
          this.#reconnects++;
          onNewSession();
          client = await this.#connect();
        }
        await work(client, offset + n);
      } catch (error) {
        outcome = (error as { code?: string }).code ?? lastWords(client) ?? 'connection lost';
        if (client === null || !isAlive(client, outcome)) {
          void client?.end().catch(() => {});
          client = null;
          await sleep(50);
        }
      }
      attempts.push({ id: offset + n, sentMs, endedMs: performance.now(), outcome });
      await sleep(paceMs, undefined, { signal }).catch(() => {});
    }
    await client?.end().catch(() => {});
  }

  /** The first of the connection strings where somebody lets it in. */
  async #connect(): Promise<pg.Client> {
    let failure: unknown;
    for (const connectionString of this.#urls) {
      const client = new pg.Client({
        connectionString,
        application_name: 'leasehold drill',
        connectionTimeoutMillis: CONNECT_MS,
        query_timeout: STATEMENT_TIMEOUT_MS,
        stream: () => new GuardedSocket(),
      });
      // The query that is under way tells; between queries the next one does, with what the server said last.
      client.on('error', (error: Error & { code?: string }) => {
        if (!LAST_WORDS.has(client)) LAST_WORDS.set(client, error.code);
      });
      try {
        await client.connect();
        return client;
      } catch (error) {
        void client.end().catch(() => {});
        failure = error;
      }
    }
    throw failure;
  }

  async #once<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    try {
      return await work(client);
    } finally {
      await client.end().catch(() => {});
    }
  }

  #shown(): string {
    return this.#urls.map((url) => url.replace(/(:\/\/[^:@/]*):[^@/]*@/, '$1:***@')).join(' or ');
  }
}

/** The code of the error with which a connection ended between two queries. */
const LAST_WORDS = new WeakMap<pg.Client, string | undefined>();

function lastWords(client: pg.Client | null): string | undefined {
  return client === null ? undefined : LAST_WORDS.get(client);
}

async function readMax(client: pg.Client, sql: string): Promise<number> {
  const { rows } = await client.query<{ max: string | null }>(sql);
  return Number(rows[0]?.max ?? 0);
}

function countDone(attempts: readonly Attempt[]): number {
  return attempts.reduce((sum, attempt) => sum + (attempt.outcome === 'acknowledged' ? 1 : 0), 0);
}

/** Only one drill runs at a time: tables of others are of drills whose proxy died. */
async function dropLeftOvers(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
     WHERE tablename ~ '^${TABLE}[0-9a-f]{8}$' AND tableowner = current_user AND schemaname = current_schema()`,
  );
  for (const { name } of rows) await client.query(`DROP TABLE IF EXISTS ${name}`);
}

/** An error that PostgreSQL (or the proxy) answered leaves the session usable, unless it says that it ends it. */
function isAlive(client: pg.Client, outcome: string): boolean {
  const isAnswer = /^[0-9A-Z]{5}$/.test(outcome) && !/^(57P01|57P02|57P03)$/.test(outcome);
  return isAnswer && (client as unknown as { _ending?: boolean })._ending !== true;
}
