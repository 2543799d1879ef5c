import type { Writable } from 'node:stream';

/**
 * Slices of what a client sent on their way to a server, adjacent ones as one: COPY data comes in a message for each row, and a
 * write for each would be a system call for each.
 */
export class Relay {
  readonly #socket: Pick<Writable, 'write'>;
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;

  constructor(socket: Pick<Writable, 'write'>) {
    this.#socket = socket;
  }

  add(buffer: Buffer, start: number, end: number): void {
    if (buffer === this.#buffer && start === this.#end) {
      this.#end = end;
      return;
    }
    this.flush();
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  /** False: the socket wants no more for now. */
  flush(): boolean {
    const buffer = this.#buffer;
    if (buffer === null) return true;
    this.#buffer = null;
    return this.#socket.write(buffer.subarray(this.#start, this.#end));
  }
}
