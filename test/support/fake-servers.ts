import { EventEmitter } from 'node:events';
import type { BackendLogin, BackendTarget } from '../../proxy/auth/types.ts';

/** One connection to a server that exists in a test only: what the server counts, from the attempt until its end. */
export class FakeConnection extends EventEmitter {
  readonly target: BackendTarget;
  state: 'opening' | 'open' | 'ending' | 'gone' = 'opening';
  readonly written: Buffer[] = [];
  writable = true;
  destroyed = false;
  readonly errored = null;
  bytesRead = 0;
  readonly writableNeedDrain = false;
  readonly #settle: PromiseWithResolvers<BackendLogin>;

  constructor(target: BackendTarget, settle: PromiseWithResolvers<BackendLogin>) {
    super();
    this.target = target;
    this.#settle = settle;
  }

  /** The server lets it in. */
  accept(): void {
    this.state = 'open';
    const socket = this as unknown as BackendLogin['socket'];
    this.#settle.resolve({ socket, processId: 1, secretKey: Buffer.alloc(4), parameters: new Map(), protocolMinor: 0 });
  }

  refuse(error: Error): void {
    this.state = 'gone';
    this.#settle.reject(error);
  }

  /** The server closes it, asked to or not. */
  close(): void {
    if (this.state === 'gone') return;
    this.state = 'gone';
    this.writable = false;
    this.destroyed = true;
    this.emit('close');
  }

  /** What the server says. */
  say(bytes: Buffer): void {
    this.bytesRead += bytes.length;
    this.emit('data', bytes);
  }

  write(bytes: Buffer): boolean {
    this.written.push(bytes);
    return true;
  }

  end(): void {
    this.writable = false;
    if (this.state === 'open') this.state = 'ending';
  }

  destroy(): void {
    this.close();
  }

  resume(): void {}

  pause(): void {}

  cork(): void {}

  uncork(): void {}
}

/** Servers that let in, refuse and close connections when the test says so, or (`prompt`) at once. */
export class FakeServers {
  readonly connections: FakeConnection[] = [];
  prompt: boolean;

  constructor(prompt: boolean) {
    this.prompt = prompt;
  }

  readonly login = (target: BackendTarget, options: { readonly signal: AbortSignal }): Promise<BackendLogin> => {
    const settle = Promise.withResolvers<BackendLogin>();
    const connection = new FakeConnection(target, settle);
    this.connections.push(connection);
    options.signal.addEventListener('abort', () => {
      if (connection.state === 'opening') connection.refuse(options.signal.reason as Error);
    });
    if (this.prompt) connection.accept();
    return settle.promise;
  };

  /** Connections that the server has, those being made and those being closed included. */
  get present(): FakeConnection[] {
    return this.connections.filter(({ state }) => state !== 'gone');
  }

  in(state: FakeConnection['state']): FakeConnection[] {
    return this.connections.filter((connection) => connection.state === state);
  }
}

/** Lets promises and the next turn of the event loop run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
