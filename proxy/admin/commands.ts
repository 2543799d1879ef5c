import { ClientError } from '../../common/errors.ts';
import type { TransactionStatus } from '../wire/encode.ts';
import { type DrillCommand, parseDrill } from './console-drills.ts';
import { ALIASES } from './settings.ts';
import { SHOW_NAMES, showColumns } from './tables.ts';
import type { StopMode } from './types.ts';

/** A command of the console. */
export type Command =
  | { readonly kind: 'show'; readonly name: string }
  /** `SELECT 1`, with which pools test a connection. */
  | { readonly kind: 'one' }
  /** What drivers send by themselves and what has no meaning here; answered by its tag. */
  | { readonly kind: 'status'; readonly tag: string; readonly status: TransactionStatus | null }
  /** Of administrators only. */
  | { readonly kind: 'do'; readonly tag: string; readonly action: Action };

/** `database` null: all. */
export type Action =
  | { readonly type: 'pause' | 'resume' | 'reconnect' | 'wait-close'; readonly database: string | null }
  | { readonly type: 'kill' | 'disable' | 'enable'; readonly database: string }
  | { readonly type: 'kill-client'; readonly id: number }
  | { readonly type: 'reload' }
  | { readonly type: 'set'; readonly path: string; readonly value: string }
  | { readonly type: 'shutdown'; readonly mode: StopMode }
  | ({ readonly type: 'drill' } & DrillCommand)
  | { readonly type: 'abort-drill' };

/** The commands of a text, in order. Throws ClientError 42601 for what is none, naming what there is. */
export function parseCommands(text: string): Command[] {
  return splitCommands(withoutComments(text))
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseCommand);
}

/** At semicolons outside of quotes. */
function splitCommands(text: string): string[] {
  return text.match(/(?:'(?:[^']|'')*'|"(?:[^"]|"")*"|[^;'"]|['"])+/g) ?? [];
}

function parseCommand(text: string): Command {
  const words = text.match(/'(?:[^']|'')*'|"(?:[^"]|"")*"|=|[^\s=]+/g) ?? [];
  const verb = (words[0] ?? '').toUpperCase();
  const command = parseWords(verb, words.slice(1)) ?? parseAction(verb, words.slice(1));
  if (command !== null) return command;
  if (verb === 'SUSPEND') {
    throw new ClientError({
      sqlState: '0A000',
      message: 'there is no SUSPEND here',
      hint: 'For an upgrade let a second process take the port over (proxy.listen.reusePort); to stop work, PAUSE.',
    });
  }
  throw new ClientError({
    sqlState: '42601',
    message: `the console does not know this command: ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`,
    hint: `SHOW HELP lists what it knows: ${SHOW_NAMES.map((name) => `SHOW ${name}`).join(', ')}, … For SQL connect to a database.`,
  });
}

function parseWords(verb: string, words: readonly string[]): Command | null {
  switch (verb) {
    case 'SHOW':
      return words.length === 1 && showColumns(words[0] as string) !== null
        ? { kind: 'show', name: words[0] as string }
        : null;
    case 'SELECT':
      return words.length === 1 && words[0] === '1' ? { kind: 'one' } : null;
    case 'BEGIN':
    case 'START':
      return { kind: 'status', tag: 'BEGIN', status: 'T' };
    case 'COMMIT':
    case 'END':
      return { kind: 'status', tag: 'COMMIT', status: 'I' };
    case 'ABORT':
      if (words[0]?.toUpperCase() === 'DRILL') return { kind: 'do', tag: 'ABORT', action: { type: 'abort-drill' } };
      return { kind: 'status', tag: 'ROLLBACK', status: 'I' };
    case 'ROLLBACK':
      return { kind: 'status', tag: 'ROLLBACK', status: 'I' };
    case 'RESET':
    case 'DISCARD':
      return { kind: 'status', tag: verb === 'DISCARD' ? 'DISCARD ALL' : verb, status: null };
    case 'SET':
      return parseSet(words);
    default:
      return null;
  }
}

/** Settings of PostgreSQL that drivers set on every connection. */
const OF_DRIVERS =
  /^(application_name|client_encoding|client_min_messages|datestyle|extra_float_digits|intervalstyle|timezone|time|names|session|local|transaction|search_path|standard_conforming_strings|bytea_output|statement_timeout|lock_timeout|idle_in_transaction_session_timeout|default_transaction_\w+|jit)$/i;

function parseSet(words: readonly string[]): Command | null {
  const name = unquoted(words[0] ?? '');
  if (OF_DRIVERS.test(name)) return { kind: 'status', tag: 'SET', status: null };
  const [, between, ...rest] = words;
  if (between === undefined || !/^(=|to)$/i.test(between) || rest.length !== 1) return null;
  const alias = ALIASES.get(name.toLowerCase());
  const value = unquoted(rest[0] as string);
  const path = alias?.path ?? name;
  return { kind: 'do', tag: 'SET', action: { type: 'set', path, value: alias?.fromText(value) ?? value } };
}

function parseAction(verb: string, words: readonly string[]): Command | null {
  if (verb === 'DRILL') return { kind: 'do', tag: verb, action: { type: 'drill', ...parseDrill(words.map(unquoted)) } };
  if (words.length > 1) return null;
  const word = words[0] === undefined ? null : unquoted(words[0]);
  const act = (action: Action): Command => ({ kind: 'do', tag: verb, action });
  switch (verb) {
    case 'PAUSE':
    case 'RESUME':
    case 'RECONNECT':
      return act({ type: verb.toLowerCase() as 'pause' | 'resume' | 'reconnect', database: word });
    case 'WAIT_CLOSE':
      return act({ type: 'wait-close', database: word });
    case 'KILL':
    case 'DISABLE':
    case 'ENABLE':
      return word === null ? null : act({ type: verb.toLowerCase() as 'kill' | 'disable' | 'enable', database: word });
    case 'KILL_CLIENT': {
      const id = /^c?(\d+)$/.exec(word ?? '');
      return id === null ? null : act({ type: 'kill-client', id: Number(id[1]) });
    }
    case 'RELOAD':
      return word === null ? act({ type: 'reload' }) : null;
    case 'SHUTDOWN': {
      const mode = STOP_MODES.get((word ?? '').toUpperCase());
      return mode === undefined ? null : act({ type: 'shutdown', mode });
    }
    default:
      return null;
  }
}

/** PgBouncer's WAIT_FOR_SERVERS is what SIGTERM does here. */
const STOP_MODES: ReadonlyMap<string, StopMode> = new Map([
  ['', 'transactions'],
  ['WAIT_FOR_SERVERS', 'transactions'],
  ['WAIT_FOR_CLIENTS', 'clients'],
  ['IMMEDIATE', 'now'],
]);

function unquoted(word: string): string {
  if (/^'.*'$/s.test(word)) return word.slice(1, -1).replaceAll("''", "'");
  if (/^".*"$/s.test(word)) return word.slice(1, -1).replaceAll('""', '"');
  return word;
}

function withoutComments(text: string): string {
  return text.replaceAll(/--[^\n]*/g, ' ').replaceAll(/\/\*.*?\*\//gs, ' ');
}
