import {
  A_DASH,
  A_DOLLAR,
  A_DOT,
  A_DOUBLE,
  A_QUOTE,
  A_SLASH,
  A_SPACE,
  A_STAR,
  A_ZERO,
  CLASS,
  CLOSE,
  DASH,
  DIGIT,
  DOLLAR,
  DOT,
  DOUBLE,
  FOLDED,
  isPlainFirst,
  isStateful,
  OPEN,
  OPERATOR,
  QUOTE,
  SEMICOLON,
  SLASH,
  SPACE,
  WORD,
  ZERO,
} from './bytes.ts';
import { MAX_HINT_BYTES, parseHint } from './hint.ts';
import { emptyResult, type Normalised, type Normaliser } from './normalised.ts';
import {
  COMMENT,
  isOwnName,
  skipBlockComment,
  skipDollarString,
  skipLineComment,
  skipNumber,
  skipQuotedName,
  skipString,
} from './skip.ts';

/** Some hundreds are as many operators as the parser is given: for each it looks at all operator characters behind it. */
const COMMENT_WEIGHT = 8;
// What the previous token was, where it matters.
const NONE = 0;
const STRING = 1;
const NUMBER = 2;
const ELSE = 3;

/** `maxBytes`: the longest text that is read. The scratch buffer is a little larger: a placeholder may outgrow its literal. */
export function createNormaliser(maxBytes: number): Normaliser {
  const scanner = new Scanner(maxBytes);
  return { scratch: scanner.out, run: (text, backslashEscapes) => scanner.run(text, backslashEscapes) };
}

class Scanner {
  readonly out: Buffer;
  readonly #maxBytes: number;
  readonly #result: Normalised = emptyResult();
  #text: Buffer = Buffer.alloc(0);
  #end = 0;
  #length = 0;
  #depth = 0;
  #previous = NONE;
  #atStart = true;
  #escapes = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.out = Buffer.allocUnsafe(maxBytes * 2 + 16);
  }

  run(text: Buffer, backslashEscapes: boolean): Normalised {
    const result = this.#result;
    this.#escapes = backslashEscapes;
    result.exact = result.broken = result.sessionState = false;
    result.hint = 0;
    result.depth = result.operators = result.words = 0;
    this.#text = text;
    this.#end = Math.min(text.length, this.#maxBytes);
    this.#length = 0;
    this.#depth = 0;
    this.#previous = NONE;
    this.#atStart = true;
    if (text.length > this.#maxBytes) result.broken = result.sessionState = true;
    this.#scan();
    result.length = this.#length > 0 && this.out[this.#length - 1] === A_SPACE ? this.#length - 1 : this.#length;
    return result;
  }

  #scan(): void {
    const text = this.#text;
    const end = this.#end;
    let at = 0;
    while (at < end) {
      const byte = text[at] as number;
      switch (CLASS[byte] as number) {
        case SPACE:
          this.#space();
          at += 1;
          break;
        case WORD:
          at = this.#word(at);
          break;
        case DIGIT:
          at = this.#number(at);
          break;
        case QUOTE:
          at = this.#string(at, this.#escapes);
          break;
        case DOUBLE:
          at = this.#quotedName(at);
          break;
        case DOLLAR:
          at = this.#dollar(at);
          break;
        default:
          at = this.#punctuation(at, byte);
      }
    }
  }

  #space(): void {
    if (this.#length > 0 && this.out[this.#length - 1] !== A_SPACE) this.out[this.#length++] = A_SPACE;
  }

  #word(start: number): number {
    const { out } = this;
    const text = this.#text;
    const end = this.#end;
    const from = this.#length;
    if (this.#previous === NUMBER && out[from - 1] === A_ZERO) this.#result.exact = true; // 1abc
    let at = start;
    let to = from;
    let keep = false;
    while (at < end) {
      const byte = text[at] as number;
      const folded = FOLDED[byte] as number;
      if (folded === 0) break;
      // In some client encodings the second byte of a character looks like a letter.
      if (byte >= 128) keep = true;
      out[to] = keep ? byte : folded;
      to += 1;
      at += 1;
    }
    this.#length = to;
    const size = at - start;
    if (size === 1 && at < end) {
      const prefixed = this.#prefixed(out[from] as number, at, from);
      if (prefixed >= 0) return prefixed;
    }
    this.#result.words += 1;
    this.#noteName(from, size);
    this.#previous = ELSE;
    return at;
  }

  /** E'', B'', X'', N'', U&'' and U&"": -1 if it is none of them. */
  #prefixed(letter: number, at: number, from: number): number {
    const next = this.#text[at];
    if (letter === 0x75 && next === 0x26) {
      const quote = this.#text[at + 1];
      if (quote !== A_QUOTE && quote !== A_DOUBLE) return -1;
      // An escape may spell any name, and UESCAPE changes how.
      this.#result.exact = true;
      this.#length = from;
      return quote === A_QUOTE ? this.#string(at + 1, false) : this.#quotedName(at + 1);
    }
    if (next !== A_QUOTE) return -1;
    if (letter === 0x65) this.#length = from;
    if (letter === 0x65) return this.#string(at, true);
    if (letter === 0x6e) return this.#string(at, this.#escapes);
    return letter === 0x62 || letter === 0x78 ? this.#string(at, false) : -1;
  }

  /** The first word of a statement, and names that leave something in the session. */
  #noteName(from: number, size: number): void {
    const result = this.#result;
    if (this.#atStart) {
      this.#atStart = false;
      if (!isPlainFirst(this.out, from, size)) result.exact = result.sessionState = true;
    } else if (isStateful(this.out, from, size)) {
      result.sessionState = true;
      if (this.out[from] === 0x73) result.exact = true; // set_config, setseed
    }
  }

  #number(start: number): number {
    if (this.#previous === NUMBER && this.out[this.#length - 1] === A_ZERO) this.#result.exact = true;
    const { end, int4, doubtful } = skipNumber(this.#text, start, this.#end);
    if (doubtful) this.#result.exact = true;
    this.out[this.#length++] = A_ZERO;
    if (!int4) {
      this.out[this.#length++] = A_DOT;
      this.out[this.#length++] = A_ZERO;
    }
    this.#previous = NUMBER;
    this.#atStart = false;
    return end;
  }

  /** `at` is the opening quote. A string right after a string may be its continuation, which keeps the first one's rules. */
  #string(at: number, escapes: boolean): number {
    return this.#literal(at + 1, skipString(this.#text, at, this.#end, escapes));
  }

  #literal(from: number, close: number): number {
    if (close < 0) return this.#stop();
    if (this.#previous === STRING || isOwnName(this.#text, from)) this.#result.exact = true;
    this.out[this.#length++] = A_QUOTE;
    this.#previous = STRING;
    this.#atStart = false;
    return close;
  }

  #quotedName(start: number): number {
    const from = this.#length;
    const close = skipQuotedName(this.#text, start, this.#end);
    if (close < 0) return this.#stop();
    const size = close - start;
    for (let i = 0; i < size; i += 1) this.out[from + i] = this.#text[start + i] as number;
    this.#length += size;
    this.#previous = ELSE;
    if (size > 2) this.#noteName(from + 1, size - 2);
    this.#atStart = false;
    return close;
  }

  /** $1, $tag$…$tag$, or a lone dollar sign. */
  #dollar(start: number): number {
    const text = this.#text;
    const end = this.#end;
    let at = start + 1;
    this.#atStart = false;
    if (at < end && CLASS[text[at] as number] === DIGIT) {
      this.out[this.#length++] = A_DOLLAR;
      while (at < end && CLASS[text[at] as number] === DIGIT) this.out[this.#length++] = text[at++] as number;
      if (at < end && CLASS[text[at] as number] === WORD) this.#result.exact = true;
      this.#previous = ELSE;
      return at;
    }
    return this.#literal(start, skipDollarString(text, start, end));
  }

  #punctuation(at: number, byte: number): number {
    const text = this.#text;
    const next = at + 1 < this.#end ? (text[at + 1] as number) : 0;
    switch (CLASS[byte] as number) {
      case DASH:
        if (next === A_DASH) return this.#comment(at, skipLineComment(text, at, this.#end));
        this.#result.operators += 1;
        break;
      case SLASH:
        if (next === A_STAR) return this.#comment(at, skipBlockComment(text, at, this.#end));
        this.#result.operators += 1;
        break;
      case SEMICOLON:
        this.#atStart = true;
        break;
      case OPEN:
        this.#depth += 1;
        if (this.#depth > this.#result.depth) this.#result.depth = this.#depth;
        break;
      case CLOSE:
        this.#depth -= 1;
        break;
      case DOT:
        // Not where a name stands right before it.
        if (CLASS[next] === DIGIT && FOLDED[this.out[this.#length - 1] ?? 0] === 0) return this.#number(at);
        break;
      case ZERO:
        return this.#stop();
      case OPERATOR:
        this.#result.operators += 1;
        break;
      default:
    }
    this.out[this.#length++] = byte;
    this.#previous = ELSE;
    return at + 1;
  }

  #comment(at: number, close: number): number {
    if (close < 0) return this.#stop();
    const block = this.#text[at] === A_SLASH;
    if (block) this.#result.operators += COMMENT_WEIGHT * COMMENT.nested;
    if (block && this.#length === 0 && this.#result.hint === 0 && close - at < MAX_HINT_BYTES) {
      this.#result.hint = parseHint(this.#text.toString('latin1', at + 2, close - 2));
    }
    this.#space();
    return close;
  }

  #stop(): number {
    this.#result.broken = true;
    this.#result.exact = true;
    return this.#end;
  }
}
