import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { decodeErrorFields } from '../../proxy/wire/decode.ts';

/** What a server answered: message types with what can be compared of their bodies. */
export type Transcript = string[];

/** Speaks raw protocol messages, to a server or to a proxy, and writes down what comes back. */
export class RawClient implements AsyncDisposable {
  readonly #socket;
  #received = Buffer.alloc(0);
  #closed = false;
  #wake: (() => void) | null = null;

  private constructor(socket: Awaited<ReturnType<typeof loginToBackend>>['socket']) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake?.();
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.resume();
  }

  static async connect(
    at: { readonly port: number; readonly user?: string; readonly database?: string },
    parameters: readonly (readonly [string, string])[] = [],
  ): Promise<RawClient> {
    const user = at.user ?? 'app';
    const login = await loginToBackend(
      {
        host: '127.0.0.1',
        port: at.port,
        user,
        database: at.database ?? 'app',
        credentials: { kind: 'password', password: user },
        parameters: new Map(parameters),
        tls: { mode: 'disable' },
      },
      { signal: AbortSignal.timeout(15_000), connectTimeoutMs: 15_000 },
    );
    return new RawClient(login.socket);
  }

  send(...messages: readonly Buffer[]): void {
    this.#socket.write(Buffer.concat(messages));
  }

  /**
   * Reads until `count` messages of one of the types in `until` have come. What comes after them stays for the next call.
   * Rejects after `timeoutMs` with what was received so far; a closed connection ends it with `closed`.
   */
  async read(until: string, count = 1, timeoutMs = 5_000): Promise<Transcript> {
    const transcript: Transcript = [];
    const deadline = Date.now() + timeoutMs;
    let left = count;
    for (;;) {
      const message = this.#take();
      if (message !== null) {
        transcript.push(describe(message));
        if (until.includes(String.fromCharCode(message[0] as number))) left -= 1;
        if (left === 0) return transcript;
        continue;
      }
      if (this.#closed) return [...transcript, 'closed'];
      const waitMs = deadline - Date.now();
      if (waitMs <= 0) throw new Error(`no more answers after ${JSON.stringify(transcript)}`);
      await this.#more(waitMs);
    }
  }

  #take(): Buffer | null {
    if (this.#received.length < 5) return null;
    const end = 1 + this.#received.readInt32BE(1);
    if (this.#received.length < end) return null;
    const message = this.#received.subarray(0, end);
    this.#received = this.#received.subarray(end);
    return message;
  }

  #more(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** Errors without the server's source lines; everything else byte for byte, long bodies by length and hash. */
function describe(message: Buffer): string {
  const type = String.fromCharCode(message[0] as number);
  const body = message.subarray(5);
  if (type === 'E' || type === 'N') {
    const { severity, sqlState, message: text, detail, hint, routine } = decodeErrorFields(message, 5, message.length);
    const known = sqlState === '0A000' ? [routine] : []; // drivers know a plan that has changed by the routine that says so
    return [type, severity, sqlState, text, detail, hint, ...known].join('|');
  }
  if (type === 'A') return `A|${body.subarray(4).toString('latin1')}`; // without the notifier's pid
  if (type === 'K') return 'K';
  if (type === 'T') forgetTables(body);
  const text = body.toString('latin1');
  return text.length > 300 ? `${type}|${text.length} bytes|${hash(text)}` : `${type}|${JSON.stringify(text)}`;
}

/** A table that was made twice has two oids. */
function forgetTables(rowDescription: Buffer): void {
  let at = 2;
  while (at < rowDescription.length) {
    at = rowDescription.indexOf(0, at) + 1;
    rowDescription.writeInt32BE(0, at);
    at += 18;
  }
}

function hash(text: string): number {
  let value = 7;
  for (let i = 0; i < text.length; i++) value = (Math.imul(value, 31) + text.charCodeAt(i)) | 0;
  return value;
}
