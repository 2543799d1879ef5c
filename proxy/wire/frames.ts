import { protocolViolation } from './decode.ts';

/**
 * Cuts a byte stream into protocol messages (one type byte, then an int32 length that counts itself) without
 * copying: whole messages are reported as bounds in the received chunk. A message that does not end in its chunk is
 * either gathered (when something must be read in it) or reported piece by piece as it arrives.
 * https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS
 */
export interface FrameSink {
  /** A whole message, `buffer[start]` is its type, `end` exclusive. False: stop here, until `resume`. */
  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean;
  /**
   * A piece of a message that is not gathered. The first piece has at least the header (5 bytes), or 1,024 bytes where
   * the message was only too long to be gathered; the one with `last` ends the message. False stops the reader, as above.
   */
  onPart(type: number, buffer: Buffer, start: number, end: number, first: boolean, last: boolean): boolean;
}

/**
 * For each type byte: the longest message (type byte included) that is gathered when it does not fit its chunk; longer
 * ones come in parts. 0: never gathered. -1: not a message of this direction.
 */
export type GatherLimits = Int32Array;

export function gatherLimits(gathered: string, bytes: number, parted: string): GatherLimits {
  const limits = new Int32Array(256).fill(-1);
  for (const type of parted) limits[type.charCodeAt(0)] = 0;
  for (const type of gathered) limits[type.charCodeAt(0)] = bytes;
  return limits;
}

const HEADER_BYTES = 5;
/** Enough for the names at the start of a Bind or a Parse. */
const FIRST_PART_BYTES = 1024;
/** PQ_LARGE_MESSAGE_LIMIT of libpq/libpq.h: no message is longer than MaxAllocSize. */
const MAX_LENGTH = 0x3fffffff;

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #limits: GatherLimits;
  /** Bytes of an unfinished header or of a message that is being gathered. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Length of the message being gathered; 0 while only its header is. */
  #gatherBytes = 0;
  /** What is still to come of a message reported in parts, and its type. */
  #partLeft = 0;
  #partType = 0;
  #stopped = false;
  #pushing = false;
  /** Chunks that came while stopped, the first one cut at where the reader stopped. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;

  constructor(sink: FrameSink, limits: GatherLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** Bytes received and not yet reported; what back-pressure is measured by. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Whether part of a message was reported and its end was not. */
  get insideMessage(): boolean {
    return this.#partLeft > 0;
  }

  /** Throws ClientError 08P01 for a length or a type that the protocol does not have; the stream is lost then. */
  push(chunk: Buffer): void {
    if (this.#stopped || this.#pushing || this.#waiting.length > 0) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.length;
      return;
    }
    this.#run(chunk);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Goes on with what waited. May be called from within the sink: then the outer loop goes on. */
  resume(): void {
    this.#stopped = false;
    if (this.#pushing) return;
    while (!this.#stopped) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) return;
      this.#waitingBytes -= chunk.length;
      this.#run(chunk);
    }
  }

  #run(received: Buffer): void {
    this.#pushing = true;
    try {
      const chunk = this.#pieces.length > 0 && this.#gatherBytes === 0 ? this.#joinHeader(received) : received;
      const rest = this.#scan(chunk);
      if (rest < chunk.length) {
        this.#waiting.unshift(chunk.subarray(rest));
        this.#waitingBytes += chunk.length - rest;
      }
    } finally {
      this.#pushing = false;
    }
  }

  #joinHeader(received: Buffer): Buffer {
    this.#pieces.push(received);
    const joined = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#pieceBytes = 0;
    return joined;
  }

  /** Reports what is in the chunk. Returns how far it came: less than the length when the sink said stop. */
  #scan(chunk: Buffer): number {
    const size = chunk.length;
    let at = this.#finishPending(chunk);
    while (at < size && !this.#stopped) {
      if (size - at < HEADER_BYTES) return this.#keep(chunk, at, 0);
      const type = chunk[at] as number;
      const length = chunk.readInt32BE(at + 1);
      const limit = this.#limits[type] as number;
      if (limit < 0) throw protocolViolation(`invalid message type ${type}`);
      if (length < 4 || length > MAX_LENGTH) throw protocolViolation(`invalid message length ${length}`);
      const end = at + 1 + length;
      if (end <= size) {
        const start = at;
        at = end;
        if (!this.#sink.onMessage(type, chunk, start, end)) this.#stopped = true;
      } else if (1 + length <= limit) {
        return this.#keep(chunk, at, 1 + length);
      } else if (limit > 0 && size - at < Math.min(FIRST_PART_BYTES, 1 + length)) {
        return this.#keep(chunk, at, 0);
      } else {
        this.#partLeft = end - size;
        this.#partType = type;
        if (!this.#sink.onPart(type, chunk, at, size, true, false)) this.#stopped = true;
        return size;
      }
    }
    return at;
  }

  #keep(chunk: Buffer, at: number, gatherBytes: number): number {
    this.#pieces.push(chunk.subarray(at));
    this.#pieceBytes += chunk.length - at;
    this.#gatherBytes = gatherBytes;
    return chunk.length;
  }

  /** The end of what earlier chunks began. Returns where the next message starts. */
  #finishPending(chunk: Buffer): number {
    if (this.#partLeft > 0) {
      const end = Math.min(chunk.length, this.#partLeft);
      this.#partLeft -= end;
      if (!this.#sink.onPart(this.#partType, chunk, 0, end, false, this.#partLeft === 0)) this.#stopped = true;
      return end;
    }
    if (this.#gatherBytes === 0) return 0;
    const end = Math.min(chunk.length, this.#gatherBytes - this.#pieceBytes);
    this.#pieces.push(end === chunk.length ? chunk : chunk.subarray(0, end));
    this.#pieceBytes += end;
    if (this.#pieceBytes < this.#gatherBytes) return end;
    const message = Buffer.concat(this.#pieces, this.#gatherBytes);
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#gatherBytes = 0;
    if (!this.#sink.onMessage(message[0] as number, message, 0, message.length)) this.#stopped = true;
    return end;
  }
}
