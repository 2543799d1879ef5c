import type { Socket } from 'node:net';
import { protocolViolation } from '../wire/decode.ts';

/** The peer closed the connection (or it broke) in the middle of what was being read. */
export class ConnectionClosed extends Error {
  constructor(cause?: unknown) {
    super('connection closed', cause === undefined ? undefined : { cause });
  }
}

/** One typed message; body bounds as in `decode.ts`. */
export interface Message {
  readonly type: string;
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/**
 * Reads exact pieces from a socket while nobody else does: start-up and authentication, where one message is
 * answered before the next is read. Between reads the socket is paused, so that a peer that talks ahead fills at
 * most its socket's buffer. `release` hands the socket on, with the unread bytes put back.
 */
export class HandshakeReader {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;
  #chunks: Buffer[] = [];
  #length = 0;
  #closed: Error | null = null;
  #waiting: { readonly bytes: number; readonly settle: (error: Error | null) => void } | null = null;

  constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
    socket.pause();
    socket.on('data', this.#onData);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('end', this.#onClose);
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
    else if (socket.destroyed) this.#onClose();
  }

  /** Bytes that the peer has sent ahead, as far as they have been read from the socket. */
  get buffered(): number {
    return this.#length;
  }

  /** Rejects with ConnectionClosed, or with the signal's reason. */
  async bytes(count: number): Promise<Buffer> {
    await this.#fill(count);
    const all = this.#joined();
    const taken = all.subarray(0, count);
    this.#chunks = count === all.length ? [] : [all.subarray(count)];
    this.#length = all.length - count;
    return taken;
  }

  /** Like `bytes`, but the bytes stay to be read. */
  async peek(count: number): Promise<Buffer> {
    await this.#fill(count);
    return this.#joined().subarray(0, count);
  }

  /** A message with a type byte; longer ones than `maxBytes` are a protocol violation. */
  async message(maxBytes: number): Promise<Message> {
    const header = await this.bytes(5);
    const length = header.readInt32BE(1);
    if (length < 4 || length > maxBytes) throw protocolViolation('invalid message length');
    const buffer = length === 4 ? EMPTY : await this.bytes(length - 4);
    return { type: String.fromCharCode(header[0] as number), buffer, start: 0, end: buffer.length };
  }

  /** Detaches from the socket, paused, and puts the unread bytes back. */
  release(): void {
    const socket = this.#socket;
    socket.pause();
    // Before the error listener goes: a socket without one would take the process with it.
    ignoreErrors(socket);
    socket.off('data', this.#onData);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.off('end', this.#onClose);
    this.#signal.removeEventListener('abort', this.#onAbort);
    if (this.#length > 0 && !socket.destroyed) socket.unshift(this.#joined());
    this.#chunks = [];
    this.#length = 0;
  }

  async #fill(count: number): Promise<void> {
    if (this.#length >= count) return;
    if (this.#closed !== null) throw this.#closed;
    const error = await new Promise<Error | null>((settle) => {
      this.#waiting = { bytes: count, settle };
      this.#socket.resume();
    });
    if (error !== null) throw error;
  }

  #joined(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks, this.#length)];
    return this.#chunks[0] as Buffer;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#waiting !== null && this.#length < this.#waiting.bytes) return;
    this.#socket.pause();
    this.#settle(null);
  };

  readonly #onError = (error: Error): void => this.#fail(new ConnectionClosed(error));
  readonly #onClose = (): void => this.#fail(new ConnectionClosed());
  readonly #onAbort = (): void => this.#fail(abortError(this.#signal));

  #fail(error: Error): void {
    this.#closed ??= error;
    this.#settle(this.#closed);
  }

  #settle(error: Error | null): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.settle(error);
  }
}

const EMPTY = Buffer.alloc(0);

/**
 * Waits for one event of a socket and leaves no listener behind. Rejects with ConnectionClosed when the socket
 * fails or closes first, with the signal's reason when it aborts.
 */
export async function socketEvent(socket: Socket, event: string, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onEvent = (): void => resolve();
  const onError = (error: Error): void => reject(new ConnectionClosed(error));
  const onClose = (): void => reject(new ConnectionClosed());
  const onAbort = (): void => reject(abortError(signal));
  socket.on(event, onEvent);
  socket.on('error', onError);
  socket.on('close', onClose);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    await promise;
  } finally {
    ignoreErrors(socket);
    socket.off(event, onEvent);
    socket.off('error', onError);
    socket.off('close', onClose);
    signal.removeEventListener('abort', onAbort);
  }
}

const ignoreError = (): void => {};

/** `close` follows every `error`: whoever cares listens to that. Adds the listener once. */
export function ignoreErrors(socket: Socket): void {
  if (!socket.listeners('error').includes(ignoreError)) socket.on('error', ignoreError);
}

export function abortError(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('aborted', { cause: signal.reason });
}

/** A signal that aborts with `reason` after a time, or with the parent's reason. Disposing it stops its timer. */
export function timeLimit(parent: AbortSignal, ms: number, reason: () => Error): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(reason()), ms);
  const onParent = (): void => controller.abort(parent.reason);
  if (parent.aborted) onParent();
  parent.addEventListener('abort', onParent);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      parent.removeEventListener('abort', onParent);
    },
  };
}

/**
 * Writes a last message and closes. What the peer still sends is discarded (unread input would make the kernel
 * reset the connection, and the message could be lost); a peer that does not close is cut off after a second.
 */
export function closeWith(socket: Socket, last: Buffer | null): void {
  ignoreErrors(socket);
  if (socket.destroyed) return;
  if (last === null) socket.end();
  else socket.end(last);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), 1000);
  socket.once('close', () => clearTimeout(timer));
}
