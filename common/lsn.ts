declare const lsnBrand: unique symbol;
declare const termBrand: unique symbol;

/** A position in the write-ahead log, in bytes. https://www.postgresql.org/docs/current/datatype-pg-lsn.html */
export type Lsn = bigint & { readonly [lsnBrand]: true };

/** The fencing token: an integer in etcd that only grows (DESIGN.md, "Terms and keys"). 0 before the first election. */
export type Term = bigint & { readonly [termBrand]: true };

export const NO_LSN = 0n as Lsn;
export const NO_TERM = 0n as Term;

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** `16/B374D848` to bytes. Throws RangeError for anything else. */
export function parseLsn(text: string): Lsn {
  const match = LSN_TEXT.exec(text);
  if (match === null) throw new RangeError(`not an LSN: ${JSON.stringify(text)}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Bytes to PostgreSQL's text form, `16/B374D848`. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** Decimal text or a number to a term. Throws RangeError if it is not a non-negative integer. */
export function parseTerm(text: string | number | bigint): Term {
  const value = BigInt(text);
  if (value < 0n) throw new RangeError(`not a term: ${value}`);
  return value as Term;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
