import type { Socket } from 'node:net';
import { writeAllTo, writeTo } from '../net/direct-socket.ts';

/**
 * What goes to the client: slices of what servers sent and the proxy's own messages, in order. They are collected
 * while a chunk is gone through and written together at its end, adjacent slices as one.
 */
export class ClientOutput {
  readonly #socket: Socket;
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;
  readonly #before: Buffer[] = [];
  #bytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Collected and not yet written. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  relay(buffer: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    if (buffer === this.#buffer && start === this.#end) {
      this.#end = end;
      return;
    }
    this.#cut();
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  send(message: Buffer): void {
    this.relay(message, 0, message.length);
  }

  /** Writes a message at once, before what was collected: that may be forgotten yet. */
  overtake(buffer: Buffer, start: number, end: number): void {
    if (this.#socket.writable) this.#socket.write(buffer.subarray(start, end));
  }

  /** Forgets what was collected: the unit is run again elsewhere. */
  discard(): void {
    this.#before.length = 0;
    this.#buffer = null;
    this.#bytes = 0;
  }

  /** Writes what was collected. False: the client does not keep up; wait for its 'drain'. */
  flush(): boolean {
    if (this.#bytes === 0) return true;
    const last = this.#buffer as Buffer;
    this.#buffer = null;
    this.#bytes = 0;
    if (!this.#socket.writable) {
      this.#before.length = 0;
      return true;
    }
    const slice = this.#start === 0 && this.#end === last.length ? last : last.subarray(this.#start, this.#end);
    if (this.#before.length === 0) return writeTo(this.#socket, slice);
    this.#before.push(slice);
    const fits = writeAllTo(this.#socket, this.#before);
    this.#before.length = 0;
    return fits;
  }

  #cut(): void {
    if (this.#buffer !== null) this.#before.push(this.#buffer.subarray(this.#start, this.#end));
  }
}
