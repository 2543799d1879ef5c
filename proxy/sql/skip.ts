import { A_BACKSLASH, A_DOLLAR, A_DOT, A_DOUBLE, A_QUOTE, A_SLASH, A_STAR, CLASS, DIGIT, WORD } from './bytes.ts';

/**
 * Ends of the things that PostgreSQL's scanner takes as a whole. Each gets the offset of the first byte and returns
 * the one after the last, or -1 if it does not end before `end` or has a zero byte in it.
 */

/** `at` is the opening quote; `escapes` as in E''. */
export function skipString(text: Buffer, at: number, end: number, escapes: boolean): number {
  for (let i = at + 1; i < end; i += 1) {
    const byte = text[i];
    if (byte === A_QUOTE) {
      if (i + 1 >= end || text[i + 1] !== A_QUOTE) return i + 1;
      i += 1;
    } else if (byte === A_BACKSLASH && escapes) {
      i += 1;
    } else if (byte === 0) {
      return -1;
    }
  }
  return -1;
}

/** Up to the line's end, which stays. A comment may also end with the text. */
export function skipLineComment(text: Buffer, at: number, end: number): number {
  for (let i = at + 2; i < end; i += 1) {
    const byte = text[i];
    if (byte === 10 || byte === 13) return i;
    if (byte === 0) return -1;
  }
  return end;
}

/** Comments that the last block comment had inside it. */
export const COMMENT = { nested: 0 };

/** Comments nest. */
export function skipBlockComment(text: Buffer, at: number, end: number): number {
  let nested = 1;
  COMMENT.nested = 0;
  for (let i = at + 2; i < end; i += 1) {
    const byte = text[i];
    if (byte === A_STAR && i + 1 < end && text[i + 1] === A_SLASH) {
      nested -= 1;
      i += 1;
      if (nested === 0) return i + 1;
    } else if (byte === A_SLASH && i + 1 < end && text[i + 1] === A_STAR) {
      nested += 1;
      COMMENT.nested += 1;
      i += 1;
    } else if (byte === 0) {
      return -1;
    }
  }
  return -1;
}

/** `$tag$ … $tag$`; -1 also for a dollar sign that opens none. */
export function skipDollarString(text: Buffer, at: number, end: number): number {
  let i = at + 1;
  while (i < end && (CLASS[text[i] as number] === WORD || CLASS[text[i] as number] === DIGIT)) i += 1;
  if (i >= end || text[i] !== A_DOLLAR) return -1;
  const tag = text.subarray(at, i + 1);
  const close = text.indexOf(tag, i + 1);
  if (close < 0 || close + tag.length > end || text.subarray(i, close).includes(0)) return -1;
  return close + tag.length;
}

/** `"…"`; a doubled quote inside looks like two names side by side, which is as good here. */
export function skipQuotedName(text: Buffer, at: number, end: number): number {
  for (let i = at + 1; i < end && text[i] !== 0; i += 1) if (text[i] === A_DOUBLE) return i + 1;
  return -1;
}

export interface NumberToken {
  end: number;
  int4: boolean;
  /** Versions of PostgreSQL read it differently (0x1F, 1_000, 1abc, 1..2). */
  doubtful: boolean;
}

const EXPONENT = /^e[+-]?[0-9]+/i;
const NUMBER: NumberToken = { end: 0, int4: true, doubtful: false };

/** From the first digit or the dot before it. The same object each time. */
export function skipNumber(text: Buffer, start: number, end: number): NumberToken {
  let at = start;
  let dots = 0;
  let exponent: RegExpExecArray | null = null;
  while (at < end && (CLASS[text[at] as number] === DIGIT || text[at] === A_DOT)) {
    if (text[at] === A_DOT) dots += 1;
    at += 1;
  }
  const digits = at - start;
  let doubtful = dots > 1;
  if (at < end && CLASS[text[at] as number] === WORD) {
    exponent = EXPONENT.exec(text.toString('latin1', at, Math.min(end, at + 12)));
    at += exponent?.[0].length ?? 0;
    if (at < end && CLASS[text[at] as number] === WORD) doubtful = true;
  }
  NUMBER.end = at;
  NUMBER.int4 = dots === 0 && exponent === null && digits <= 9;
  NUMBER.doubtful = doubtful;
  return NUMBER;
}

const OWN = Buffer.from('leasehold.');

/** Whether a literal that begins there names a setting of the proxy's own: such a text is nobody else's. */
export function isOwnName(text: Buffer, at: number): boolean {
  if (((text[at] ?? 0) | 0x20) !== OWN[0] || at + OWN.length > text.length) return false;
  return text.toString('latin1', at, at + OWN.length).toLowerCase() === 'leasehold.';
}
