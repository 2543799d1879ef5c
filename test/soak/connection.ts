import { connect, type Socket } from 'node:net';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { decodeErrorFields } from '../../proxy/wire/decode.ts';
import { cancelRequest, TERMINATE } from '../../proxy/wire/encode.ts';
import { Expectation } from '../fuzz/expectation.ts';
import { encodeMessage, type Message } from '../fuzz/messages.ts';

/** What one request was answered: rows as text, in order, of all its statements. */
export interface Reply {
  readonly rows: (string | null)[][];
  readonly copied: string[];
  readonly notified: string[];
  readonly tags: string[];
  /** SQLSTATE and text of the first error. */
  error: { readonly state: string; readonly text: string } | null;
}

export class ConnectionLost extends Error {}

/** A client that speaks the protocol itself, so that it can leave in the middle, cancel, and read slowly. */
export class SoakConnection {
  readonly #socket: Socket;
  readonly #port: number;
  readonly #processId: number;
  readonly #secretKey: Buffer;
  #expectation = new Expectation();
  #received: Buffer = Buffer.alloc(0);
  #reply: Reply = emptyReply();
  #fatal: string | null = null;
  #closed = false;
  #wake: () => void = () => undefined;

  private constructor(port: number, login: Awaited<ReturnType<typeof loginToBackend>>) {
    this.#port = port;
    this.#socket = login.socket;
    this.#processId = login.processId;
    this.#secretKey = login.secretKey;
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
    this.#socket.resume();
  }

  static async open(port: number, name: string): Promise<SoakConnection> {
    const login = await loginToBackend(
      {
        host: '127.0.0.1',
        port,
        user: 'app',
        database: 'app',
        credentials: { kind: 'password', password: 'app' },
        parameters: new Map([['application_name', name]]),
        tls: { mode: 'disable' },
      },
      { signal: AbortSignal.timeout(60_000), connectTimeoutMs: 60_000 },
    );
    return new SoakConnection(port, login);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends without waiting; `answer` waits for all of it. */
  send(...messages: readonly Message[]): void {
    for (const message of messages) this.#expectation.push(message);
    this.#socket.write(Buffer.concat(messages.map(encodeMessage)));
  }

  /** Rejects with ConnectionLost when the connection ends before, or after `boundMs` without an end. */
  async answer(boundMs = 90_000): Promise<Reply> {
    const deadline = Date.now() + boundMs;
    while (!this.#expectation.settled) {
      if (this.#closed) throw new ConnectionLost(this.#fatal ?? 'closed without a word');
      if (Date.now() > deadline) throw new Error(`no answer within ${boundMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const reply = this.#reply;
    this.#reply = emptyReply();
    this.#expectation = this.#expectation.copying ? this.#expectation : new Expectation();
    return reply;
  }

  request(...messages: readonly Message[]): Promise<Reply> {
    this.send(...messages);
    return this.answer();
  }

  query(sql: string): Promise<Reply> {
    return this.request({ type: 'query', sql });
  }

  /** Takes nothing for so long. */
  async readSlowly(pauseMs: number): Promise<void> {
    this.#socket.pause();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    this.#socket.resume();
  }

  /** As libpq does: a connection of its own, until the server closes it. */
  cancel(): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect(this.#port, '127.0.0.1', () =>
        socket.write(cancelRequest(this.#processId, this.#secretKey)),
      );
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
      socket.resume();
    });
  }

  leave(): void {
    this.#socket.end(TERMINATE);
  }

  /** Without a word, as when its process dies. */
  vanish(): void {
    this.#socket.destroy();
  }

  /** As when its machine dies: a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    let at = 0;
    while (this.#received.length - at >= 5) {
      const end = at + 1 + this.#received.readInt32BE(at + 1);
      if (this.#received.length < end) break;
      const type = String.fromCharCode(this.#received[at] as number);
      this.#take(type, at, end);
      this.#expectation.onAnswer(type);
      at = end;
    }
    this.#received = this.#received.subarray(at);
    if (this.#expectation.settled) this.#wake();
  }

  #take(type: string, at: number, end: number): void {
    const buffer = this.#received;
    if (type === 'D') this.#reply.rows.push(rowOf(buffer, at + 5));
    else if (type === 'C') this.#reply.tags.push(buffer.toString('latin1', at + 5, end - 1));
    else if (type === 'd') this.#reply.copied.push(buffer.toString('utf8', at + 5, end));
    else if (type === 'A') this.#reply.notified.push(buffer.toString('utf8', buffer.indexOf(0, at + 9) + 1, end - 1));
    else if (type === 'E') {
      const { severity, sqlState, message } = decodeErrorFields(buffer, at + 5, end);
      if (severity === 'FATAL') this.#fatal = `${sqlState} ${message}`;
      this.#reply.error ??= { state: sqlState, text: message };
    }
  }
}

function emptyReply(): Reply {
  return { rows: [], copied: [], notified: [], tags: [], error: null };
}

function rowOf(buffer: Buffer, start: number): (string | null)[] {
  const row: (string | null)[] = [];
  let at = start + 2;
  for (let left = buffer.readInt16BE(start); left > 0; left--) {
    const size = buffer.readInt32BE(at);
    at += 4;
    row.push(size < 0 ? null : buffer.toString('utf8', at, at + size));
    at += Math.max(size, 0);
  }
  return row;
}
