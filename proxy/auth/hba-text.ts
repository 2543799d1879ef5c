/**
 * The text of pg_hba.conf and pg_ident.conf: lines of fields, which are lists of tokens. Read as PostgreSQL does (tokenize_auth_file of
 * hba.c): quotes, comments, continued lines, `@file`, include directives.
 * https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
 */

export interface Token {
  readonly text: string;
  /** Begins with a quote: keywords and `@` mean nothing then. */
  readonly quoted: boolean;
}

export interface HbaLine {
  readonly file: string;
  readonly line: number;
  /** At least one, and each has at least one token. */
  readonly fields: readonly (readonly Token[])[];
}

export interface HbaFault {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Where included files come from. Both throw an Error whose message says why not. */
export interface HbaFiles {
  read(path: string): string;
  /** Names in a folder. */
  list(folder: string): readonly string[];
  /** A path as one file names it in another. */
  resolve(from: string, path: string): string;
  exists(path: string): boolean;
}

export interface HbaText {
  readonly lines: readonly HbaLine[];
  readonly faults: readonly HbaFault[];
}

/** Included files may include others, but not for ever (CONF_FILE_MAX_DEPTH). */
const MAX_DEPTH = 10;
const MAX_LINES = 100_000;

export function readHbaText(file: string, text: string, files: HbaFiles): HbaText {
  const reader = new Reader(files);
  reader.file(file, text, 0);
  return reader;
}

class Reader implements HbaText {
  readonly lines: HbaLine[] = [];
  readonly faults: HbaFault[] = [];
  readonly #files: HbaFiles;

  constructor(files: HbaFiles) {
    this.#files = files;
  }

  file(file: string, text: string, depth: number): void {
    for (const { line, content } of logicalLines(text)) {
      const fault = (message: string): void => void this.faults.push({ file, line, message });
      const fields = this.#fields(file, content, depth, fault);
      if (fields.length === 0) continue;
      if (this.lines.length >= MAX_LINES) return fault('too many lines');
      const [first, second] = fields;
      const directive = first?.length === 1 && second?.length === 1 && first[0]?.quoted === false ? first[0].text : '';
      const path = second?.[0]?.text ?? '';
      if (fields.length === 2 && directive === 'include') this.#include(file, path, depth, fault);
      else if (fields.length === 2 && directive === 'include_if_exists') {
        if (this.#files.exists(this.#files.resolve(file, path))) this.#include(file, path, depth, fault);
      } else if (fields.length === 2 && directive === 'include_dir') this.#includeFolder(file, path, depth, fault);
      else this.lines.push({ file, line, fields });
    }
  }

  #include(from: string, path: string, depth: number, fault: (message: string) => void): void {
    const text = this.#read(from, path, depth, fault);
    if (text !== null) this.file(this.#files.resolve(from, path), text, depth + 1);
  }

  /** Names that end in .conf and do not begin with a dot, in the order of their bytes. */
  #includeFolder(from: string, path: string, depth: number, fault: (message: string) => void): void {
    const folder = this.#files.resolve(from, path);
    let names: readonly string[];
    try {
      names = this.#files.list(folder);
    } catch (error) {
      return fault(`could not open directory "${folder}": ${reasonOf(error)}`);
    }
    const wanted = names.filter((name) => name.endsWith('.conf') && !name.startsWith('.'));
    for (const name of wanted.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      this.#include(from, `${folder}/${name}`, depth, fault);
    }
  }

  #read(from: string, path: string, depth: number, fault: (message: string) => void): string | null {
    const target = this.#files.resolve(from, path);
    if (depth >= MAX_DEPTH) {
      fault(`could not open file "${target}": maximum nesting depth exceeded`);
      return null;
    }
    try {
      return this.#files.read(target);
    } catch (error) {
      fault(`could not open file "${target}": ${reasonOf(error)}`);
      return null;
    }
  }

  #fields(file: string, content: string, depth: number, fault: (message: string) => void): Token[][] {
    const fields: Token[][] = [];
    const tokens = new Tokens(content);
    for (;;) {
      const field: Token[] = [];
      let found = false;
      for (let more = true; more; ) {
        const token = tokens.next();
        if (token === null) break;
        found = true;
        more = tokens.endedByComma;
        if (!token.quoted && token.text.length > 1 && token.text.startsWith('@')) {
          field.push(...this.#fileTokens(file, token.text.slice(1), depth, fault));
        } else field.push(token);
      }
      if (!found) return fields;
      // A list that came out empty fits nothing, and keeps its place.
      fields.push(field.length === 0 ? [{ text: ' ', quoted: true }] : field);
    }
  }

  #fileTokens(from: string, path: string, depth: number, fault: (message: string) => void): Token[] {
    const text = this.#read(from, path, depth, fault);
    if (text === null) return [];
    const target = this.#files.resolve(from, path);
    return logicalLines(text).flatMap(({ content }) => this.#fields(target, content, depth + 1, fault).flat());
  }
}

/** A backslash at the end of a line goes on with the next. Lines are numbered by their first. */
function logicalLines(text: string): { readonly line: number; readonly content: string }[] {
  const lines: { line: number; content: string }[] = [];
  let open: { line: number; content: string } | null = null;
  for (const [index, raw] of text.split('\n').entries()) {
    const content: string = raw.replace(/\r$/, '');
    const continued: boolean = content.endsWith('\\');
    const piece = continued ? content.slice(0, -1) : content;
    if (open === null) open = { line: index + 1, content: piece };
    else open.content += piece;
    if (continued) continue;
    lines.push(open);
    open = null;
  }
  if (open !== null) lines.push(open);
  return lines;
}

class Tokens {
  readonly #text: string;
  #at = 0;
  endedByComma = false;

  constructor(text: string) {
    this.#text = text;
  }

  /** Null at the end of the line. */
  next(): Token | null {
    const text = this.#text;
    this.endedByComma = false;
    while (this.#at < text.length && (isBlank(text[this.#at]) || text[this.#at] === ',')) this.#at += 1;
    let token = '';
    let inQuote = false;
    let wasQuote = false;
    let sawQuote = false;
    let quoted = false;
    for (; this.#at < text.length; this.#at++) {
      const character = text[this.#at] as string;
      if (isBlank(character) && !inQuote) break;
      if (character === '#' && !inQuote) {
        this.#at = text.length;
        break;
      }
      if (character === ',' && !inQuote) {
        this.endedByComma = true;
        this.#at += 1;
        break;
      }
      if (character !== '"' || wasQuote) token += character;
      wasQuote = inQuote && character === '"' ? !wasQuote : false;
      if (character !== '"') continue;
      inQuote = !inQuote;
      sawQuote = true;
      if (token === '') quoted = true;
    }
    return sawQuote || token !== '' ? { text: token, quoted } : null;
  }
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t' || character === '\r';
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
