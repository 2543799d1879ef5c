import { writeSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';

/** Every direct socket reads into it. What came is copied out at once: most chunks are a message or two. */
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024);
/** Pieces that come to no more than this are joined: copying them costs less than handing each to the kernel. */
const JOIN_BYTES = 16 * 1024;

/**
 * A connection of Node's without what its stream costs for each chunk: no buffer of 64 KiB is made for a read, no event is sent for what
 * it brings, and what the kernel takes at once passes by the queue of writes. Back-pressure, errors and the end are the
 * stream's own, and so is everything until `takeChunks`.
 */
export class DirectSocket extends Socket {
  #take: ((chunk: Buffer) => void) | null = null;
  #passedBy = 0;

  constructor(options: SocketConstructorOpts = {}) {
    super({ ...options, onread: { buffer: SCRATCH, callback: (size, bytes) => this.#onRead(size, bytes) } });
  }

  /** Takes over what a server has accepted. The socket that is given is an empty shell afterwards. */
  static adopt(accepted: Socket): DirectSocket {
    const from = accepted as unknown as Internals;
    const handle = from._handle;
    from._handle = null;
    const options: object = { handle, allowHalfOpen: accepted.allowHalfOpen };
    const socket = new DirectSocket(options);
    const to = socket as unknown as Internals;
    // By this the server counts its connections.
    to._server = from._server;
    from._server = null;
    return socket;
  }

  /** From now on what arrives goes there. What the stream holds already comes first, by its 'data'. */
  takeChunks(take: (chunk: Buffer) => void): void {
    this.#take = take;
    this.on('data', take);
  }

  /** As `write`. */
  writeAtOnce(bytes: Buffer): boolean {
    const { fd } = (this as unknown as Internals)._handle ?? NO_HANDLE;
    if (fd < 0 || this.writableLength > 0 || !this.writable || this.connecting) return this.write(bytes);
    let taken = 0;
    try {
      taken = writeSync(fd, bytes, 0, bytes.length);
    } catch {
      // Full, or broken: the stream finds out which.
    }
    this.#passedBy += taken;
    if (taken === bytes.length) return true;
    return this.write(taken === 0 ? bytes : bytes.subarray(taken));
  }

  /** Bytes that `bytesWritten` does not know of. */
  get bytesPassedBy(): number {
    return this.#passedBy;
  }

  #onRead(size: number, bytes: Uint8Array): boolean {
    const chunk = Buffer.allocUnsafe(size);
    chunk.set(bytes.length === size ? bytes : bytes.subarray(0, size));
    if (this.#take === null || this.readableLength > 0) return this.push(chunk);
    this.#take(chunk);
    return true;
  }
}

/** What Node keeps in its sockets, and has no other way to. */
interface Internals {
  _handle: { readonly fd: number } | null;
  _server: unknown;
}

const NO_HANDLE = { fd: -1 };

/** Chunks as they arrive, of a socket of any kind; it is not resumed. */
export function onChunks(socket: Socket, take: (chunk: Buffer) => void): void {
  if (socket instanceof DirectSocket) socket.takeChunks(take);
  else socket.on('data', take);
}

/** False: the peer does not keep up; wait for 'drain'. */
export function writeTo(socket: Socket, bytes: Buffer): boolean {
  return socket instanceof DirectSocket ? socket.writeAtOnce(bytes) : socket.write(bytes);
}

/** All of them in one write, in order. */
export function writeAllTo(socket: Socket, pieces: readonly Buffer[]): boolean {
  let size = 0;
  for (const { length } of pieces) size += length;
  if (pieces.length === 1) return writeTo(socket, pieces[0] as Buffer);
  if (size <= JOIN_BYTES) return writeTo(socket, Buffer.concat(pieces, size));
  let fits = true;
  socket.cork();
  for (const piece of pieces) fits = socket.write(piece);
  socket.uncork();
  return fits;
}

/** Writes all of them. False: the kernel has refused it at once, every byte. */
export function sendAllTo(socket: Socket, pieces: readonly Buffer[]): boolean {
  const before = passedBy(socket);
  writeAllTo(socket, pieces);
  return passedBy(socket) > before || !refuses(socket);
}

/** Nothing that is written leaves this process any more. */
export function refuses(socket: Socket): boolean {
  return socket.destroyed || !socket.writable || socket.errored !== null;
}

function passedBy(socket: Socket): number {
  return socket instanceof DirectSocket ? socket.bytesPassedBy : 0;
}

/** Of a socket of any kind. */
export function bytesWrittenTo(socket: Socket): number {
  return socket.bytesWritten + passedBy(socket);
}
