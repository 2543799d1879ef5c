import { once } from 'node:events';
import type { Socket } from 'node:net';
import { loginToBackend } from '../../proxy/auth/backend-login.ts';
import * as encode from '../../proxy/wire/encode.ts';
import { FrameReader, gatherLimits } from '../../proxy/wire/frames.ts';
import { parse } from './steps.ts';

/** Messages of any length, of which this client keeps nothing: what is sent is one chunk again and again. */
const MB = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, 'x');

export interface Counted {
  /** By message type, headers included. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Type and content of each message of less than 200 bytes. */
  readonly small: readonly string[];
}

/** Logged in as the application's user, nothing sent yet. The caller destroys it. */
export async function connectPlain(port: number): Promise<Socket> {
  const { socket } = await loginToBackend(
    {
      host: '127.0.0.1',
      port,
      user: 'app',
      database: 'app',
      credentials: { kind: 'password', password: 'app' },
      parameters: new Map(),
      tls: { mode: 'disable' },
    },
    { signal: AbortSignal.timeout(15_000), connectTimeoutMs: 15_000 },
  );
  socket.on('error', () => undefined);
  return socket;
}

/** `bytes` of the letter x, no faster than they are taken. */
export async function sendChunks(socket: Socket, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    if (!socket.write(left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left))) await once(socket, 'drain');
  }
}

/** `SELECT length($1::text)` with a parameter of this length. */
export async function sendParameter(socket: Socket, bytes: number): Promise<void> {
  socket.write(parse('', 'SELECT length($1::text)'));
  const head = Buffer.alloc(2 + 2 + 2 + 4);
  head.writeInt16BE(1, 4);
  head.writeInt32BE(bytes, 6);
  socket.write(Buffer.concat([header('B', head.length + bytes + 2), head]));
  await sendChunks(socket, bytes);
  socket.write(Buffer.concat([Buffer.alloc(2), encode.execute(''), encode.SYNC]));
}

/** A Query whose text is `bytes` of the letter x between two texts. */
export async function sendStatement(socket: Socket, before: string, bytes: number, behind: string): Promise<void> {
  socket.write(Buffer.concat([header('Q', before.length + bytes + behind.length + 1), Buffer.from(before)]));
  await sendChunks(socket, bytes);
  socket.write(Buffer.from(`${behind}\0`));
}

/** `COPY … FROM STDIN` with one line of this length in one CopyData message. */
export async function sendCopy(socket: Socket, table: string, bytes: number): Promise<void> {
  socket.write(encode.query(`COPY ${table} FROM STDIN`));
  socket.write(header('d', bytes + 1));
  await sendChunks(socket, bytes);
  socket.write(Buffer.from('\n'));
  socket.write(header('c', 0));
}

/** Type and length of a message with a body of this size. */
export function header(type: string, body: number): Buffer {
  const out = Buffer.alloc(5);
  out.write(type, 0, 'latin1');
  out.writeInt32BE(4 + body, 1);
  return out;
}

/** What comes until ReadyForQuery, counted and not kept. */
export function countAnswers(socket: Socket): Promise<Counted> {
  const bytes = new Map<string, number>();
  const small: string[] = [];
  return new Promise((resolve, reject) => {
    const count = (type: number, size: number): void => {
      const key = String.fromCharCode(type);
      bytes.set(key, (bytes.get(key) ?? 0) + size);
    };
    const lost = (): void => reject(new Error(`closed after ${JSON.stringify(small)}`));
    const sink = {
      onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
        count(type, end - start);
        if (end - start < 200) small.push(`${String.fromCharCode(type)}${buffer.toString('latin1', start + 5, end)}`);
        if (type === 0x5a) {
          socket.removeListener('data', push);
          socket.removeListener('close', lost);
          resolve({ bytes, small });
        }
        return true;
      },
      onPart(type: number, _: Buffer, start: number, end: number): boolean {
        count(type, end - start);
        return true;
      },
    };
    const reader = new FrameReader(sink, gatherLimits('123CEIKNRSZtns', MB, 'TDdGHc'));
    const push = (chunk: Buffer): void => reader.push(chunk);
    socket.on('data', push);
    socket.once('close', lost);
    socket.resume();
  });
}
