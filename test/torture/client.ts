import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { cancelRequest } from '../../proxy/wire/encode.ts';
import type { Random } from '../simulation/random.ts';
import type { Recorder } from './recorder.ts';

export interface ClientContext {
  readonly recorder: Recorder;
  /** Name and connection string of each proxy. */
  readonly proxies: readonly { readonly name: string; readonly url: string }[];
  readonly running: () => boolean;
  readonly random: Random;
  /** Keys that all writers share. */
  readonly sharedKeys: readonly number[];
}

/** Longer than a proxy holds anything: whoever waits so long has been forgotten (I12). */
const PATIENCE_MS = 45_000;
let sessions = 0;

/** The connection ended, or did not answer in time. */
export class Lost extends Error {}

/** One session: a connection of its own through one proxy. */
export class Session {
  readonly id: number;
  readonly proxy: string;
  readonly #client: pg.Client;
  readonly #recorder: Recorder;
  #warned = false;
  #gone = false;

  private constructor(id: number, proxy: string, client: pg.Client, recorder: Recorder) {
    this.id = id;
    this.proxy = proxy;
    this.#client = client;
    this.#recorder = recorder;
    client.on('error', () => (this.#gone = true));
    client.on('end', () => (this.#gone = true));
    client.on('notice', ({ routine }) => {
      // Committed on the leader, and nobody knows whether anywhere else: the wait for followers was given up.
      if (routine === 'SyncRepWaitForLSN') this.#warned = true;
    });
  }

  /** Null where the proxy does not answer or does not let in. `continues`: the same session, to which guarantees are owed. */
  static async open(context: ClientContext, index: number, continues: number | null = null): Promise<Session | null> {
    const { name, url } = context.proxies[index % context.proxies.length] as { name: string; url: string };
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 8000 });
    client.on('error', () => {});
    try {
      await client.connect();
    } catch (error) {
      if (error instanceof pg.DatabaseError) context.recorder.said(`login ${error.code}`, error.message);
      client.end().catch(() => {});
      await sleep(100);
      return null;
    }
    context.recorder.counts.connections += 1;
    return new Session(continues ?? ++sessions, name, client, context.recorder);
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Whether the last query's success came with a warning that it may not last. */
  get warned(): boolean {
    return this.#warned;
  }

  /** Throws ServerError with a SQLSTATE, or Lost. */
  async query(text: string, values: readonly unknown[] = []): Promise<pg.QueryResult<Record<string, string>>> {
    if (this.#gone) throw new Lost('gone before');
    this.#warned = false;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new OutOfPatience(`no answer within ${PATIENCE_MS / 1000} s to ${text}`)),
        PATIENCE_MS,
      );
    });
    try {
      const answer = values.length === 0 ? this.#client.query(text) : this.#client.query(text, [...values]);
      answer.catch(() => {}); // told by the race, or too late for anybody
      return (await Promise.race([answer, patience])) as pg.QueryResult<Record<string, string>>;
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.code !== undefined) {
        if (error.severity === 'FATAL') this.#gone = true;
        this.#recorder.said(error.code, error.message);
        throw new ServerError(error.code, error.message);
      }
      this.leave();
      if (error instanceof OutOfPatience) throw error;
      throw new Lost((error as Error).message);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks through any proxy that what runs be cancelled, as a driver does; whether it comes in time is anybody's guess. */
  cancel(host: string, port: number): void {
    const { processID, secretKey } = this.#client as unknown as { processID: number; secretKey: number };
    const key = Buffer.alloc(4);
    key.writeInt32BE(secretKey);
    const socket = connect(port, host, () => socket.end(cancelRequest(processID, key)));
    socket.on('error', () => undefined);
    socket.setTimeout(5000, () => socket.destroy());
    socket.resume();
  }

  /** Without a word, as when its process dies. */
  vanish(): void {
    (this.#client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  }

  leave(): void {
    this.#gone = true;
    this.#client.end().catch(() => {});
  }
}

export class OutOfPatience extends Lost {}

export class ServerError extends Error {
  readonly sqlState: string;

  constructor(sqlState: string, message: string) {
    super(message);
    this.sqlState = sqlState;
  }
}

export function sqlStateOf(error: unknown): string {
  if (error instanceof ServerError) return error.sqlState;
  if (error instanceof Lost) return 'lost';
  throw error;
}
