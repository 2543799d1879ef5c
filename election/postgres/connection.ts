import { Socket } from 'node:net';
import { Client } from 'pg';
import { PostgresNotRunning, PostgresTimeout } from './errors.ts';
import { AGENT_ROLE } from './settings.ts';

export interface LocalOptions {
  readonly socketDir: string;
  readonly port: number;
  readonly database?: string;
  readonly connectTimeoutMs: number;
  readonly signal: AbortSignal;
}

export interface QueryOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * One connection of the agent to its own server, over the private socket, as its superuser. Every query has a time
 * limit; one that passes it costs the connection, since a server that is stopped in its tracks answers no cancel.
 * Its commits do not wait for followers (`synchronous_commit = local`) unless a query says so.
 */
export class LocalConnection {
  readonly #client: Client;
  readonly #socket: Socket;
  #closed = false;
  /** SQLSTATEs of the warnings since the last look. Bounded. */
  #warnings: string[] = [];

  private constructor(client: Client, socket: Socket) {
    this.#client = client;
    this.#socket = socket;
    // Without a listener a lost connection would end the process; the next query reports it.
    client.on('error', () => this.destroy());
    client.on('end', () => {
      this.#closed = true;
    });
    client.on('notice', (notice) => {
      if (this.#warnings.length < 16 && notice.code !== undefined) this.#warnings.push(notice.code);
    });
  }

  /** Throws `PostgresNotRunning` (its cause carries PostgreSQL's SQLSTATE, if it came so far) or the signal's reason. */
  static async open(options: LocalOptions): Promise<LocalConnection> {
    options.signal.throwIfAborted();
    const socket = new Socket();
    const client = new Client({
      host: options.socketDir,
      port: options.port,
      user: AGENT_ROLE,
      database: options.database ?? 'postgres',
      application_name: 'leasehold agent',
      options: '-c synchronous_commit=local -c statement_timeout=0 -c lock_timeout=0 -c search_path=pg_catalog',
      ssl: false,
      stream: () => socket,
    });
    const connection = new LocalConnection(client, socket);
    try {
      await bounded(client.connect(), 'connecting', connection, {
        timeoutMs: options.connectTimeoutMs,
        signal: options.signal,
      });
      return connection;
    } catch (error) {
      connection.destroy();
      if (options.signal.aborted) throw options.signal.reason;
      throw new PostgresNotRunning('the local PostgreSQL does not accept a connection', error);
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  async query<Row extends object>(text: string, values: readonly unknown[], options: QueryOptions): Promise<Row[]> {
    options.signal?.throwIfAborted();
    if (this.#closed) throw new PostgresNotRunning('the connection to the local PostgreSQL is closed');
    const result = await bounded(this.#client.query<Row>(text, [...values]), text, this, options);
    return result.rows;
  }

  /** The first row; throws where there is none. */
  async one<Row extends object>(text: string, values: readonly unknown[], options: QueryOptions): Promise<Row> {
    const [row] = await this.query<Row>(text, values, options);
    if (row === undefined) throw new PostgresNotRunning(`no row from: ${text}`);
    return row;
  }

  takeWarnings(): readonly string[] {
    const warnings = this.#warnings;
    this.#warnings = [];
    return warnings;
  }

  destroy(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const timer = setTimeout(() => this.#socket.destroy(), 200);
    await this.#client.end().catch(() => undefined);
    clearTimeout(timer);
  }
}

/** Waits for `work`, but not past the time limit or the abort: then the connection is destroyed, which ends the work. */
async function bounded<T>(
  work: Promise<T>,
  what: string,
  connection: LocalConnection,
  options: QueryOptions,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let abort: (() => void) | undefined;
  const interruption = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new PostgresTimeout(`no answer within ${options.timeoutMs} ms: ${what}`)),
      options.timeoutMs,
    );
    abort = () => reject(options.signal?.reason as Error);
    options.signal?.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, interruption]);
  } catch (error) {
    if (error instanceof PostgresTimeout || options.signal?.aborted === true) connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    if (abort !== undefined) options.signal?.removeEventListener('abort', abort);
    // The loser of the race ends too, once the connection is gone; nobody waits for it.
    work.catch(() => undefined);
    interruption.catch(() => undefined);
  }
}
