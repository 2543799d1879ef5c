import { ClientError } from '../../common/errors.ts';
import type { CancelKey } from '../auth/cancel-keys.ts';
import { closeWith, ConnectionClosed, HandshakeReader, socketEvent } from '../auth/handshake.ts';
import type { AcceptedClient } from '../auth/types.ts';
import type { Drills } from '../drill/runner.ts';
import * as encode from '../wire/encode.ts';
import { actOn } from './console-actions.ts';
import { consoleError, ConsoleSession } from './console-session.ts';
import type { AdminProviders, ProxyControl } from './types.ts';

/** The databases that are the console; the second one is where PgBouncer's tools look for it. */
export function isConsole(database: string): boolean {
  return database === 'leasehold' || database === 'pgbouncer';
}

export interface ConsoleOptions {
  readonly providers: AdminProviders;
  readonly control: ProxyControl;
  readonly drills: Drills;
  /** `all`: in `proxy.consoleUsers`; `look`: in `proxy.statsUsers`. */
  readonly rights: 'all' | 'look' | 'none';
  /** Its cancel ends what a command waits for. */
  readonly key: CancelKey;
  readonly cancel: ConsoleCancel;
  /** Aborted when the proxy stops. */
  readonly signal: AbortSignal;
}

/** What a cancel request with the console's key reaches: the command that is waiting, if one is. */
export class ConsoleCancel {
  #abort: AbortController | null = null;

  /** A signal for one command. */
  begin(): AbortSignal {
    this.#abort = new AbortController();
    return this.#abort.signal;
  }

  end(): void {
    this.#abort = null;
  }

  fire(): void {
    this.#abort?.abort(
      new ClientError({ sqlState: '57014', message: 'canceling statement due to user request', safeToRetry: true }),
    );
  }
}

/** Console commands are short; a client that sends more is no console. */
const MAX_MESSAGE = 65_536;

/** Serves one client of the console until it leaves; never rejects. Owns the socket. */
export async function serveConsole(client: AcceptedClient, options: ConsoleOptions): Promise<void> {
  const { socket } = client;
  const { providers, control, drills, cancel, rights } = options;
  if (rights === 'none') {
    closeWith(socket, encode.errorResponse(notAllowed(client.user)));
    return;
  }
  const reader = new HandshakeReader(socket, options.signal);
  // A client that goes away ends what its command waits for.
  socket.once('close', () => cancel.fire());
  const act = actOn({ control, drills, user: client.user }, cancel, options.signal);
  const session = new ConsoleSession(socket, { providers, act: rights === 'all' ? act : null });
  let last: Buffer | null = null;
  try {
    session.greet(options.key);
    for (;;) {
      const message = await reader.message(MAX_MESSAGE);
      if (message.type === 'X') break;
      socket.cork();
      const handled = session.handle(message);
      process.nextTick(() => socket.uncork());
      await handled;
      if (socket.writableNeedDrain) await socketEvent(socket, 'drain', options.signal);
    }
  } catch (error) {
    if (options.signal.aborted) last = encode.errorResponse(stopping());
    else if (!(error instanceof ConnectionClosed)) last = encode.errorResponse(consoleError(error, 'FATAL'));
  }
  reader.release();
  closeWith(socket, last);
}

function notAllowed(user: string): ClientError {
  return new ClientError({
    sqlState: '42501',
    severity: 'FATAL',
    message: `user "${user}" may not use the console`,
    hint: 'Name the user in the setting proxy.consoleUsers, or in proxy.statsUsers to look only.',
  });
}

function stopping(): ClientError {
  return new ClientError({
    sqlState: '57P01',
    severity: 'FATAL',
    message: 'terminating connection due to administrator command',
  });
}
