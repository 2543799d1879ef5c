import { ClientError } from '../../common/errors.ts';
import type { TransactionStatus } from '../wire/encode.ts';
import { SHOW_NAMES, showColumns } from './tables.ts';

/** A command of the console. */
export type Command =
  | { readonly kind: 'show'; readonly name: string }
  /** `SELECT 1`, with which pools test a connection. */
  | { readonly kind: 'one' }
  /** What drivers send by themselves and what has no meaning here; answered by its tag. */
  | { readonly kind: 'status'; readonly tag: string; readonly status: TransactionStatus | null };

/** The commands of a text, in order. Throws ClientError 42601 for what is none, naming what there is. */
export function parseCommands(text: string): Command[] {
  return withoutComments(text)
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseCommand);
}

function parseCommand(text: string): Command {
  const words = text.split(/\s+/);
  const verb = (words[0] as string).toUpperCase();
  switch (verb) {
    case 'SHOW':
      if (words.length === 2 && showColumns(words[1] as string) !== null)
        return { kind: 'show', name: words[1] as string };
      break;
    case 'SELECT':
      if (words.length === 2 && words[1] === '1') return { kind: 'one' };
      break;
    case 'BEGIN':
    case 'START':
      return { kind: 'status', tag: 'BEGIN', status: 'T' };
    case 'COMMIT':
    case 'END':
      return { kind: 'status', tag: 'COMMIT', status: 'I' };
    case 'ROLLBACK':
    case 'ABORT':
      return { kind: 'status', tag: 'ROLLBACK', status: 'I' };
    case 'SET':
    case 'RESET':
    case 'DISCARD':
      return { kind: 'status', tag: verb === 'DISCARD' ? 'DISCARD ALL' : verb, status: null };
    default:
  }
  throw new ClientError({
    sqlState: '42601',
    message: `the console does not know this command: ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`,
    hint: `It knows ${SHOW_NAMES.map((name) => `SHOW ${name}`).join(', ')}. For SQL connect to a database.`,
  });
}

function withoutComments(text: string): string {
  return text.replaceAll(/--[^\n]*/g, ' ').replaceAll(/\/\*.*?\*\//gs, ' ');
}
