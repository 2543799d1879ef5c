import { ClientError } from '../../common/errors.ts';

/**
 * The start-up parameter `options` as settings, in order (a later one of the same name wins): `-c name=value` and
 * `--name=value`, split at white space, with backslash before a character that is to be taken literally.
 * Names in lower case, dashes as underscores, as PostgreSQL does (pg_split_opts, ParseLongOption).
 * Throws ClientError 42601 (FATAL) for other switches: they belong to a server's command line.
 */
export function parseStartupOptions(options: string): (readonly [name: string, value: string])[] {
  const words = splitWords(options);
  const settings: (readonly [string, string])[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    if (word === '-c') settings.push(assignment(words[++i] ?? '', '-c '));
    else if (word.startsWith('-c')) settings.push(assignment(word.slice(2), '-c '));
    else if (word.startsWith('--')) settings.push(assignment(word.slice(2), '--'));
    else throw invalid(`invalid command-line argument for server process: ${word}`);
  }
  return settings;
}

function assignment(text: string, before: string): readonly [string, string] {
  const equals = text.indexOf('=');
  if (equals <= 0) throw invalid(`${before}${text} requires a value`);
  return [text.slice(0, equals).toLowerCase().replaceAll('-', '_'), text.slice(equals + 1)];
}

function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const character = text[i] as string;
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
      continue;
    }
    if (character === '\\') i++;
    word = (word ?? '') + (text[i] ?? '');
  }
  if (word !== null) words.push(word);
  return words;
}

function invalid(message: string): ClientError {
  return new ClientError({ sqlState: '42601', severity: 'FATAL', message });
}
