import { A_DASH, A_DOLLAR, A_DOUBLE, A_QUOTE, A_SLASH, A_STAR, CLASS, DIGIT, DOLLAR, SPACE, WORD } from './bytes.ts';
import { skipBlockComment, skipDollarString, skipLineComment, skipQuotedName, skipString } from './skip.ts';

/**
 * Where the statement inside another begins: the tree does not tell. All offsets are bytes; -1 where it was not found,
 * which a text that PostgreSQL's parser has accepted does not do.
 */

/** `PREPARE name [(types)] AS body`: the offset of the body. */
export function prepareBody(text: Buffer, start: number, end: number): number {
  if (start < 0) return -1;
  let depth = 0;
  for (let at = nextToken(text, start, end); at < end; at = nextToken(text, tokenEnd(text, at, end), end)) {
    const byte = text[at];
    if (byte === OPEN_PAREN) depth += 1;
    else if (byte === CLOSE_PAREN) depth -= 1;
    else if (depth === 0 && isWord(text, at, end, 'as')) return nextToken(text, tokenEnd(text, at, end), end);
  }
  return -1;
}

/** `EXPLAIN (options) body`: the offset of the body. */
export function explainBody(text: Buffer, start: number, end: number): number {
  if (start < 0) return -1;
  let depth = 0;
  for (let at = nextToken(text, start, end); at < end; at = nextToken(text, tokenEnd(text, at, end), end)) {
    const byte = text[at];
    if (byte === OPEN_PAREN) depth += 1;
    else if (byte === CLOSE_PAREN) {
      depth -= 1;
      if (depth === 0) return nextToken(text, tokenEnd(text, at, end), end);
    }
  }
  return -1;
}

/** The highest number of a parameter in the text: as many values does a Bind of it have. */
export function parametersIn(text: Buffer): number {
  const end = text.length;
  let highest = 0;
  for (let at = nextToken(text, 0, end); at < end; at = nextToken(text, tokenEnd(text, at, end), end)) {
    if (text[at] !== A_DOLLAR || CLASS[text[at + 1] ?? 0] !== DIGIT) continue;
    highest = Math.max(highest, Number.parseInt(text.toString('latin1', at + 1, at + 8), 10));
  }
  return highest;
}

const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;

/** Past white space and comments. */
function nextToken(text: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = text[at] as number;
    if (CLASS[byte] === SPACE) at += 1;
    else if (byte === A_DASH && text[at + 1] === A_DASH) at = within(skipLineComment(text, at, end), end);
    else if (byte === A_SLASH && text[at + 1] === A_STAR) at = within(skipBlockComment(text, at, end), end);
    else return at;
  }
  return end;
}

function tokenEnd(text: Buffer, at: number, end: number): number {
  const byte = text[at] as number;
  if (byte === A_QUOTE) return within(skipString(text, at, end, false), end);
  if (byte === A_DOUBLE) return within(skipQuotedName(text, at, end), end);
  if (byte === A_DOLLAR && CLASS[text[at + 1] ?? 0] !== DIGIT) return within(skipDollarString(text, at, end), end);
  if (CLASS[byte] !== WORD) return at + 1;
  let i = at + 1;
  while (i < end && isWordByte(text[i] as number)) i += 1;
  // E'' is the one string whose end depends on its prefix.
  if (i === at + 1 && (byte | 0x20) === 0x65 && text[i] === A_QUOTE) return within(skipString(text, i, end, true), end);
  return i;
}

function isWordByte(byte: number): boolean {
  const kind = CLASS[byte];
  return kind === WORD || kind === DIGIT || kind === DOLLAR;
}

function isWord(text: Buffer, at: number, end: number, word: string): boolean {
  const size = word.length;
  if (at + size > end || (at + size < end && isWordByte(text[at + size] as number))) return false;
  return text.toString('latin1', at, at + size).toLowerCase() === word;
}

function within(offset: number, end: number): number {
  return offset < 0 ? end : offset;
}
