import type { Socket } from 'node:net';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import { Random } from '../simulation/random.ts';
import { TERMINATE } from '../../proxy/wire/encode.ts';
import { Expectation } from './expectation.ts';
import { encodeMessage } from './messages.ts';
import { parametersOf, type Program } from './program.ts';

/** What a client heard: one line for each message, with what may be compared of it. */
export interface Hearing {
  readonly lines: readonly string[];
  /** How it ended: all was answered, the server closed the connection, or nothing came for too long. */
  readonly end: 'answered' | 'closed' | 'silent';
}

/** Plays the program on a connection of its own to that port of this machine; `silenceMs`: how long to wait for an answer. */
export async function play(program: Program, port: number, silenceMs: number): Promise<Hearing> {
  const login = await loginToBackend(
    {
      host: '127.0.0.1',
      port,
      user: 'app',
      database: 'app',
      credentials: { kind: 'password', password: 'app' },
      parameters: new Map(parametersOf(program)),
      tls: { mode: 'disable' },
    },
    { signal: AbortSignal.timeout(60_000), connectTimeoutMs: 60_000 },
  );
  const player = new Player(login.socket, program.cuts, silenceMs);
  try {
    return await player.run([...program.setup, ...program.items]);
  } finally {
    login.socket.destroy();
  }
}

class Player {
  readonly #socket: Socket;
  readonly #random: Random | null;
  readonly #silenceMs: number;
  readonly #expectation = new Expectation();
  readonly #lines: string[] = [];
  #received: Buffer = Buffer.alloc(0);
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(socket: Socket, cuts: number, silenceMs: number) {
    this.#socket = socket;
    this.#silenceMs = silenceMs;
    this.#random = cuts === 0 ? null : new Random(cuts);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
    socket.resume();
  }

  async run(items: Program['items']): Promise<Hearing> {
    let batch: Buffer[] = [];
    for (const item of items) {
      if (item.type !== 'wait') {
        this.#expectation.push(item);
        batch.push(encodeMessage(item));
        continue;
      }
      await this.#send(Buffer.concat(batch));
      batch = [];
      const end = await this.#settle();
      if (end !== 'answered') return { lines: normalise(this.#lines), end };
    }
    const end = await this.#leave();
    return { lines: normalise(this.#lines), end: this.#expectation.broken ? 'closed' : end };
  }

  /** Says good-bye and hears what is still to come: whatever is said to nobody's question belongs to somebody else. */
  async #leave(): Promise<Hearing['end']> {
    this.#socket.write(TERMINATE);
    const deadline = Date.now() + this.#silenceMs;
    while (!this.#closed) {
      if (Date.now() > deadline) return 'silent';
      await this.#more(deadline - Date.now());
    }
    return 'answered';
  }

  async #send(bytes: Buffer): Promise<void> {
    const random = this.#random;
    if (random === null) {
      this.#socket.write(bytes);
      return;
    }
    for (let at = 0; at < bytes.length; ) {
      const size = random.chance(0.5) ? 1 + random.below(12) : 1 + random.below(3_000);
      this.#socket.write(bytes.subarray(at, at + size));
      at += size;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #settle(): Promise<Hearing['end']> {
    const deadline = Date.now() + this.#silenceMs;
    while (!this.#expectation.settled) {
      if (this.#closed) return 'closed';
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) return 'silent';
      await this.#more(leftMs);
    }
    return 'answered';
  }

  #more(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    for (;;) {
      if (this.#received.length < 5) break;
      const end = 1 + this.#received.readInt32BE(1);
      if (this.#received.length < end) break;
      const type = String.fromCharCode(this.#received[0] as number);
      this.#lines.push(lineOf(type, Buffer.from(this.#received.subarray(5, end))));
      this.#expectation.onAnswer(type);
      this.#received = this.#received.subarray(end);
    }
    if (this.#expectation.settled) this.#wake();
  }
}

/**
 * What legitimately differs between two runs is left out, and nothing else: the notifier's process id; object ids of
 * tables in row descriptions; the number of a temporary schema; where in its source the server raised an error.
 */
function lineOf(type: string, body: Buffer): string {
  if (type === 'E' || type === 'N') return `${type} ${reportFields(body).join(' ')}`;
  if (type === 'A') return `A ${JSON.stringify(body.subarray(4).toString('latin1'))}`;
  if (type === 'T') forgetTables(body);
  const text = body.toString('latin1');
  return `${type} ${JSON.stringify(text.length > 600 ? `${text.slice(0, 200)}… ${text.length} bytes, ${hash(text)}` : text)}`;
}

function reportFields(body: Buffer): string[] {
  return body
    .toString('utf8')
    .split('\0')
    .filter((field) => field !== '' && !'FLR'.includes(field[0] as string))
    .map((field) => field.replace(/pg_(toast_)?temp_\d+/g, 'pg_temp_N'));
}

function forgetTables(body: Buffer): void {
  for (let at = 2; at < body.length; at += 18) {
    at = body.indexOf(0, at) + 1;
    body.writeInt32BE(0, at);
  }
}

/** Parameters that change at the same time are reported in no particular order. */
function normalise(lines: readonly string[]): string[] {
  const out = [...lines];
  for (let i = 0; i < out.length; i++) {
    let end = i;
    while (out[end]?.startsWith('S ') === true) end += 1;
    if (end > i + 1) out.splice(i, end - i, ...out.slice(i, end).sort());
    if (end > i) i = end - 1;
  }
  return out;
}

function hash(text: string): number {
  let value = 7;
  for (let i = 0; i < text.length; i++) value = (Math.imul(value, 31) + text.charCodeAt(i)) | 0;
  return value >>> 0;
}
