/** The bytes that matter to PostgreSQL's scanner, by class. src/backend/parser/scan.l */
export const OTHER = 0;
export const SPACE = 1;
export const WORD = 2;
export const DIGIT = 3;
export const QUOTE = 4;
export const DOUBLE = 5;
export const DOLLAR = 6;
export const DASH = 7;
export const SLASH = 8;
export const SEMICOLON = 9;
export const OPEN = 10;
export const CLOSE = 11;
export const DOT = 12;
export const ZERO = 13;
export const OPERATOR = 14;

export const CLASS = new Uint8Array(256);
/** What a byte inside a name is when names are folded to lower case; 0: it is in no name. */
export const FOLDED = new Uint8Array(256);
for (let byte = 0; byte < 256; byte += 1) {
  const text = String.fromCharCode(byte);
  if (/[a-z0-9_$]/i.test(text) || byte >= 128) FOLDED[byte] = byte >= 65 && byte <= 90 ? byte + 32 : byte;
  if (/[a-z_]/i.test(text) || byte >= 128) CLASS[byte] = WORD;
  else if (/[0-9]/.test(text)) CLASS[byte] = DIGIT;
  else if (' \t\n\r\f'.includes(text)) CLASS[byte] = SPACE;
  else if ('+*<>=~!@#%^&|`?'.includes(text)) CLASS[byte] = OPERATOR;
}
CLASS[0] = ZERO;
for (const [text, kind] of [
  ["'", QUOTE],
  ['"', DOUBLE],
  ['$', DOLLAR],
  ['-', DASH],
  ['/', SLASH],
  [';', SEMICOLON],
  ['(', OPEN],
  ['[', OPEN],
  [')', CLOSE],
  [']', CLOSE],
  ['.', DOT],
] as const) {
  CLASS[text.charCodeAt(0)] = kind;
}

export const A_QUOTE = 0x27;
export const A_DOUBLE = 0x22;
export const A_DOLLAR = 0x24;
export const A_SPACE = 0x20;
export const A_BACKSLASH = 0x5c;
export const A_STAR = 0x2a;
export const A_SLASH = 0x2f;
export const A_DASH = 0x2d;
export const A_ZERO = 0x30;
export const A_DOT = 0x2e;

const PLAIN_FIRST = ['select', 'insert', 'update', 'delete', 'with', 'values', 'table', 'merge'].map((word) =>
  Buffer.from(word),
);

/** Whether the word at `from` begins a statement whose class no literal can change (unless `isStateful` names are in it). */
export function isPlainFirst(bytes: Buffer, from: number, size: number): boolean {
  for (const word of PLAIN_FIRST) {
    if (word.length !== size || word[0] !== bytes[from]) continue;
    let i = 1;
    while (i < size && word[i] === bytes[from + i]) i += 1;
    if (i === size) return true;
  }
  return false;
}

/** Names whose literals matter (set_config) or that touch the session (the rest: for texts too large to be parsed). */
const STATEFUL =
  /^(?:set_config|setseed|temp|temporary|pg_temp\w*|pg_(?:try_)?advisory_lock\w*|pg_settings|dblink\w*)$/;

/** Whether the name at `from`, in lower case, is one of STATEFUL. Written so that nearly all names are told by four bytes. */
export function isStateful(bytes: Buffer, from: number, size: number): boolean {
  if (size < 4 || size > 40) return false;
  const prefix = ((bytes[from] as number) << 16) | ((bytes[from + 1] as number) << 8) | (bytes[from + 2] as number);
  if (prefix !== PREFIX_SET && prefix !== PREFIX_TEM && prefix !== PREFIX_PG && prefix !== PREFIX_DBL) return false;
  const fourth = bytes[from + 3];
  // pg_a…, pg_s…, pg_t…
  if (prefix === PREFIX_PG && fourth !== 0x61 && fourth !== 0x73 && fourth !== 0x74) return false;
  return STATEFUL.test(bytes.toString('latin1', from, from + size));
}

const PREFIX_SET = 0x736574;
const PREFIX_TEM = 0x74656d;
const PREFIX_PG = 0x70675f;
const PREFIX_DBL = 0x64626c;
