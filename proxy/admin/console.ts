import type { Socket } from 'node:net';
import { ClientError } from '../../common/errors.ts';
import { closeWith, ConnectionClosed, HandshakeReader, type Message, socketEvent } from '../auth/handshake.ts';
import type { CancelKey } from '../auth/cancel-keys.ts';
import type { AcceptedClient } from '../auth/types.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { type Command, parseCommands } from './commands.ts';
import { type Served, show, showColumns } from './tables.ts';
import type { AdminProviders } from './types.ts';
import { VERSION } from './version.ts';

/** The database that is the console. */
export const CONSOLE_DATABASE = 'leasehold';

export interface ConsoleOptions {
  /** Whether the user is in `proxy.consoleUsers`. */
  readonly allowed: boolean;
  readonly served: Served;
  /** Commands are done at once: there is never anything to cancel, but drivers want a key. */
  readonly key: CancelKey;
  /** Aborted when the proxy stops. */
  readonly signal: AbortSignal;
}

/** Console commands are short; a client that sends more is no console. */
const MAX_MESSAGE = 65_536;
const MAX_PREPARED = 100;

/**
 * Serves one client of the console until it leaves; never rejects. Owns the socket. Speaks the simple protocol and
 * as much of the extended one as drivers use; every value is text, which is also its binary form.
 */
export async function serveConsole(
  client: AcceptedClient,
  providers: AdminProviders,
  options: ConsoleOptions,
): Promise<void> {
  const { socket } = client;
  if (!options.allowed) {
    closeWith(socket, encode.errorResponse(notAllowed(client.user)));
    return;
  }
  const reader = new HandshakeReader(socket, options.signal);
  const session = new ConsoleSession(socket, (name) => show(name, providers, options.served));
  let last: Buffer | null = null;
  try {
    session.greet(options.key);
    for (;;) {
      const message = await reader.message(MAX_MESSAGE);
      if (message.type === 'X') break;
      socket.cork();
      session.handle(message);
      socket.uncork();
      if (socket.writableNeedDrain) await socketEvent(socket, 'drain', options.signal);
    }
  } catch (error) {
    if (options.signal.aborted) last = encode.errorResponse(stopping());
    else if (!(error instanceof ConnectionClosed)) last = encode.errorResponse(asClientError(error, 'FATAL'));
  }
  reader.release();
  closeWith(socket, last);
}

interface Portal {
  readonly command: Command | null;
}

class ConsoleSession {
  readonly #socket: Socket;
  readonly #show: (name: string) => ReturnType<typeof show>;
  readonly #prepared = new Map<string, Portal>();
  readonly #portals = new Map<string, Portal>();
  #status: encode.TransactionStatus = 'I';
  /** After an error of the extended protocol, until Sync. */
  #skipping = false;

  constructor(socket: Socket, showTable: (name: string) => ReturnType<typeof show>) {
    this.#socket = socket;
    this.#show = showTable;
  }

  greet({ processId, secretKey }: CancelKey): void {
    this.#write(
      // A major version that no client warns about: psql complains of servers newer than itself.
      encode.parameterStatus('server_version', `14.0 (Leasehold ${VERSION})`),
      encode.parameterStatus('server_encoding', 'UTF8'),
      encode.parameterStatus('client_encoding', 'UTF8'),
      encode.parameterStatus('DateStyle', 'ISO, MDY'),
      encode.parameterStatus('TimeZone', 'UTC'),
      encode.parameterStatus('integer_datetimes', 'on'),
      encode.parameterStatus('standard_conforming_strings', 'on'),
      encode.backendKeyData(processId, secretKey),
      encode.READY_IDLE,
    );
  }

  handle(message: Message): void {
    const { type, buffer, start, end } = message;
    if (type === 'Q') {
      this.#query(buffer.toString('utf8', start, decode.queryTextEnd(buffer, start, end)));
      return;
    }
    if (type === 'S') {
      this.#skipping = false;
      this.#write(encode.readyForQuery(this.#status));
      return;
    }
    if (this.#skipping || type === 'H') return;
    try {
      this.#extended(message);
    } catch (error) {
      this.#skipping = true;
      this.#write(encode.errorResponse(asClientError(error, 'ERROR')));
    }
  }

  #query(text: string): void {
    try {
      const commands = parseCommands(text);
      if (commands.length === 0) this.#write(encode.EMPTY_QUERY_RESPONSE);
      for (const command of commands) this.#run(command, true);
    } catch (error) {
      this.#write(encode.errorResponse(asClientError(error, 'ERROR')));
    }
    this.#write(encode.readyForQuery(this.#status));
  }

  #extended({ type, buffer, start, end }: Message): void {
    if (type === 'P') {
      const parse = decode.decodeParse(buffer, start, end);
      this.#keep(this.#prepared, parse.name, {
        command: onlyOne(buffer.toString('utf8', parse.textStart, parse.textEnd)),
      });
      this.#write(encode.PARSE_COMPLETE);
    } else if (type === 'B') {
      const bind = decode.decodeBind(buffer, start, end);
      this.#keep(this.#portals, bind.portal, this.#find(this.#prepared, bind.statement, '26000', 'prepared statement'));
      this.#write(encode.BIND_COMPLETE);
    } else if (type === 'D') {
      const { kind, name } = decode.decodeTarget(buffer, start, end);
      const portal = this.#named(kind, name);
      if (kind === 'S') this.#write(encode.parameterDescription([]));
      const columns = portal.command === null ? null : columnsOf(portal.command);
      this.#write(
        columns === null ? encode.NO_DATA : encode.rowDescription(columns.map((column) => ({ name: column }))),
      );
    } else if (type === 'E') {
      // A row limit is not kept: the tables are short, and drivers take more rows than they asked for.
      const { command } = this.#named('P', decode.decodeExecute(buffer, start, end).portal);
      if (command === null) this.#write(encode.EMPTY_QUERY_RESPONSE);
      else this.#run(command, false);
    } else if (type === 'C') {
      const { kind, name } = decode.decodeTarget(buffer, start, end);
      (kind === 'S' ? this.#prepared : this.#portals).delete(name);
      this.#write(encode.CLOSE_COMPLETE);
    } else {
      throw decode.protocolViolation(`invalid frontend message type ${type.charCodeAt(0)}`);
    }
  }

  #named(kind: encode.TargetKind, name: string): Portal {
    if (kind === 'S') return this.#find(this.#prepared, name, '26000', 'prepared statement');
    return this.#find(this.#portals, name, '34000', 'portal');
  }

  #find(map: ReadonlyMap<string, Portal>, name: string, sqlState: string, what: string): Portal {
    const found = map.get(name);
    if (found === undefined) throw new ClientError({ sqlState, message: `${what} "${name}" does not exist` });
    return found;
  }

  #keep(map: Map<string, Portal>, name: string, portal: Portal): void {
    if (map.size >= MAX_PREPARED && !map.has(name)) {
      throw new ClientError({
        sqlState: '54000',
        message: `the console keeps at most ${MAX_PREPARED} prepared statements`,
      });
    }
    map.set(name, portal);
  }

  #run(command: Command, describe: boolean): void {
    if (command.kind === 'status') {
      this.#status = command.status ?? this.#status;
      this.#write(encode.commandComplete(command.tag));
      return;
    }
    const table = command.kind === 'one' ? { columns: ['?column?'], rows: [['1']] } : this.#show(command.name);
    if (table === null) return;
    if (describe) this.#write(encode.rowDescription(table.columns.map((name) => ({ name }))));
    for (const row of table.rows) this.#write(encode.dataRow(row));
    this.#write(encode.commandComplete(command.kind === 'one' ? 'SELECT 1' : 'SHOW'));
  }

  #write(...messages: readonly Buffer[]): void {
    for (const message of messages) this.#socket.write(message);
  }
}

function columnsOf(command: Command): readonly string[] | null {
  if (command.kind === 'one') return ['?column?'];
  return command.kind === 'show' ? showColumns(command.name) : null;
}

function onlyOne(text: string): Command | null {
  const commands = parseCommands(text);
  if (commands.length <= 1) return commands[0] ?? null;
  throw new ClientError({ sqlState: '42601', message: 'cannot insert multiple commands into a prepared statement' });
}

function asClientError(error: unknown, severity: 'ERROR' | 'FATAL'): ClientError {
  if (error instanceof ClientError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ClientError({ sqlState: 'XX000', severity, message, cause: error });
}

function notAllowed(user: string): ClientError {
  return new ClientError({
    sqlState: '42501',
    severity: 'FATAL',
    message: `user "${user}" may not use the console`,
    hint: 'Name the user in the setting proxy.consoleUsers.',
  });
}

function stopping(): ClientError {
  return new ClientError({
    sqlState: '57P01',
    severity: 'FATAL',
    message: 'terminating connection due to administrator command',
  });
}
