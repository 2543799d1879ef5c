import { Socket } from 'node:net';

/**
 * For clients of the package pg: its parser throws on bytes that no server sends, out of the socket's event, and so would end the process.
 * Here the connection ends with that error instead. Not under TLS, where pg reads another stream than it was given.
 */
export class GuardedSocket extends Socket {
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== 'data') return super.emit(event, ...args);
    try {
      return super.emit(event, ...args);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
      return true;
    }
  }
}
