import type { Socket } from 'node:net';
import { ClientError, ConfigError } from '../../common/errors.ts';
import type { CancelKey } from '../auth/cancel-keys.ts';
import type { Message } from '../auth/handshake.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { ActionRefused } from './action-refused.ts';
import { type Column, ints } from './columns.ts';
import { type Command, parseCommands } from './commands.ts';
import { describeColumns, type Formats, resultFormats, rowOf, TEXT_FORMATS } from './console-rows.ts';
import { show, showColumns } from './tables.ts';
import type { AdminProviders } from './types.ts';
import { VERSION } from './version.ts';

/** What a console may do: look, and, of administrators, act. `act` gives `say` a notice for each step, and returns the last, if any. */
export interface ConsoleRights {
  readonly providers: AdminProviders;
  /** Null: this user may only look. */
  readonly act:
    | ((command: Command & { readonly kind: 'do' }, say: (notice: string) => void) => Promise<string | null>)
    | null;
}

const MAX_PREPARED = 100;
const ONE: readonly Column[] = ints('?column?');

interface Portal {
  readonly command: Command | null;
  readonly formats: Formats;
}

/**
 * The protocol of one console client. Speaks the simple one and as much of the extended one as drivers use; numbers
 * are int8, in text or binary as asked.
 */
export class ConsoleSession {
  readonly #socket: Socket;
  readonly #rights: ConsoleRights;
  readonly #prepared = new Map<string, Portal>();
  readonly #portals = new Map<string, Portal>();
  #status: encode.TransactionStatus = 'I';
  /** After an error of the extended protocol, until Sync. */
  #skipping = false;

  constructor(socket: Socket, rights: ConsoleRights) {
    this.#socket = socket;
    this.#rights = rights;
  }

  greet(key: CancelKey): void {
    this.#write(
      // A major version that no client warns about: psql complains of servers newer than itself.
      encode.parameterStatus('server_version', `14.0 (Leasehold ${VERSION})`),
      encode.parameterStatus('server_encoding', 'UTF8'),
      encode.parameterStatus('client_encoding', 'UTF8'),
      encode.parameterStatus('DateStyle', 'ISO, MDY'),
      encode.parameterStatus('TimeZone', 'UTC'),
      encode.parameterStatus('integer_datetimes', 'on'),
      encode.parameterStatus('standard_conforming_strings', 'on'),
      encode.backendKeyData(key.processId, key.secretKey),
      encode.READY_IDLE,
    );
  }

  async handle(message: Message): Promise<void> {
    const { type, buffer, start, end } = message;
    if (type === 'Q') {
      await this.#query(buffer.toString('utf8', start, decode.queryTextEnd(buffer, start, end)));
      return;
    }
    if (type === 'S') {
      this.#skipping = false;
      this.#write(encode.readyForQuery(this.#status));
      return;
    }
    if (this.#skipping || type === 'H') return;
    try {
      await this.#extended(message);
    } catch (error) {
      this.#skipping = true;
      this.#write(encode.errorResponse(consoleError(error, 'ERROR')));
    }
  }

  async #query(text: string): Promise<void> {
    try {
      const commands = parseCommands(text);
      if (commands.length === 0) this.#write(encode.EMPTY_QUERY_RESPONSE);
      for (const command of commands) await this.#run(command, TEXT_FORMATS, true);
    } catch (error) {
      this.#write(encode.errorResponse(consoleError(error, 'ERROR')));
    }
    this.#write(encode.readyForQuery(this.#status));
  }

  async #extended({ type, buffer, start, end }: Message): Promise<void> {
    if (type === 'P') {
      const parse = decode.decodeParse(buffer, start, end);
      const command = onlyOne(buffer.toString('utf8', parse.textStart, parse.textEnd));
      this.#keep(this.#prepared, parse.name, { command, formats: TEXT_FORMATS });
      this.#write(encode.PARSE_COMPLETE);
    } else if (type === 'B') {
      const bind = decode.decodeBind(buffer, start, end);
      decode.decodeBindParameters(buffer, bind.tailStart, end); // refuses what is cut short
      const { command } = this.#find(this.#prepared, bind.statement, '26000', 'prepared statement');
      this.#keep(this.#portals, bind.portal, { command, formats: resultFormats(buffer, bind.tailStart) });
      this.#write(encode.BIND_COMPLETE);
    } else if (type === 'D') {
      const { kind, name } = decode.decodeTarget(buffer, start, end);
      const { command, formats } = this.#named(kind, name);
      if (kind === 'S') this.#write(encode.parameterDescription([]));
      const columns = command === null ? null : columnsOf(command);
      this.#write(columns === null ? encode.NO_DATA : describeColumns(columns, formats));
    } else if (type === 'E') {
      // A row limit is not kept: the tables are short, and drivers take more rows than they asked for.
      const { command, formats } = this.#named('P', decode.decodeExecute(buffer, start, end).portal);
      if (command === null) this.#write(encode.EMPTY_QUERY_RESPONSE);
      else await this.#run(command, formats, false);
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

  async #run(command: Command, formats: Formats, describe: boolean): Promise<void> {
    if (command.kind === 'status') {
      this.#status = command.status ?? this.#status;
      this.#write(encode.commandComplete(command.tag));
      return;
    }
    if (command.kind === 'do') {
      if (this.#rights.act === null) throw onlyLooks();
      const say = (message: string): void =>
        this.#write(encode.noticeResponse({ severity: 'NOTICE', sqlState: '00000', message }));
      const notice = await this.#rights.act(command, say);
      if (notice !== null) say(notice);
      this.#write(encode.commandComplete(command.tag));
      return;
    }
    const table =
      command.kind === 'one' ? { columns: ONE, rows: [['1']] } : await show(command.name, this.#rights.providers);
    if (table === null) return;
    const { columns, rows } = table;
    if (describe) this.#write(describeColumns(columns, formats));
    for (const row of rows) this.#write(rowOf(columns, row, formats));
    this.#write(encode.commandComplete(command.kind === 'one' ? 'SELECT 1' : 'SHOW'));
  }

  #write(...messages: readonly Buffer[]): void {
    for (const message of messages) this.#socket.write(message);
  }
}

function columnsOf(command: Command): readonly Column[] | null {
  if (command.kind === 'one') return ONE;
  return command.kind === 'show' ? showColumns(command.name) : null;
}

function onlyOne(text: string): Command | null {
  const commands = parseCommands(text);
  if (commands.length <= 1) return commands[0] ?? null;
  throw new ClientError({ sqlState: '42601', message: 'cannot insert multiple commands into a prepared statement' });
}

export function consoleError(error: unknown, severity: 'ERROR' | 'FATAL'): ClientError {
  if (error instanceof ClientError) return error;
  if (error instanceof ActionRefused) {
    const sqlState = error.status === 404 ? '42704' : error.status === 409 ? '55000' : '58000';
    return new ClientError({ sqlState, message: error.message, cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ConfigError) {
    const detail = error.faults.map((fault) => `${fault.path} (${fault.source}): ${fault.message}`).join('\n');
    return new ClientError({
      sqlState: 'F0000',
      message: `the configuration has ${error.faults.length} faults: the one in force stays`,
      detail,
      cause: error,
    });
  }
  return new ClientError({ sqlState: 'XX000', severity, message, cause: error });
}

function onlyLooks(): ClientError {
  return new ClientError({
    sqlState: '42501',
    message: 'this user may only look (SHOW)',
    hint: 'The setting proxy.consoleUsers names who may do more.',
  });
}
