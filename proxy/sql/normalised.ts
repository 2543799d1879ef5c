/**
 * One pass over a statement's bytes, as PostgreSQL's scanner reads them (src/backend/parser/scan.l), that leaves the
 * cache's key in a scratch buffer: literals become placeholders, comments and white space one space, unquoted names
 * lower case. Wherever this scanner is not sure to see what PostgreSQL sees, it says `exact`: the key is then the text itself.
 */
export interface Normalised {
  /** Bytes of the key in `scratch`. */
  length: number;
  /** The text itself must be the key: its class may depend on a literal, or the scanner was in doubt. */
  exact: boolean;
  /** A zero byte, an unended literal, or more than `maxBytes`: `length` covers the part before it. */
  broken: boolean;
  /** Some statement may leave something behind in the session. Only meaningful for texts that are not parsed. */
  sessionState: boolean;
  /** Of the leading comments, see `hint.ts`; 0: none. */
  hint: number;
  /** How deep parentheses and brackets nest, and how many operator characters and names there are: bounds for the parser. */
  depth: number;
  operators: number;
  words: number;
}

export interface Normaliser {
  readonly scratch: Buffer;
  /**
   * The same object each time, overwritten by the next call. `text` longer than `maxBytes` is `broken`.
   * `backslashEscapes`: standard_conforming_strings is off, and '…' is read as E'…' is.
   */
  run(text: Buffer, backslashEscapes: boolean): Normalised;
}

export function emptyResult(): Normalised {
  const flags = { exact: false, broken: false, sessionState: false };
  return { length: 0, ...flags, hint: 0, depth: 0, operators: 0, words: 0 };
}
