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
  /** Of the leading comments: 0 none, 1 leader, 2 follower. */
  hint: 0 | 1 | 2;
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
