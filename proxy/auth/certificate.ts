import { createHash } from 'node:crypto';
import { type DerElement, derElements, OBJECT_ID, objectId, SEQUENCE } from './der.ts';

/**
 * What authentication needs of a certificate and Node does not tell: the channel binding, and the subject as PostgreSQL writes it.
 * https://www.rfc-editor.org/rfc/rfc5929#section-4, https://www.rfc-editor.org/rfc/rfc2253
 */

/** By the object identifier of the signature's algorithm. MD5 and SHA-1 are replaced by SHA-256 (RFC 5929, 4.1). */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.4', 'sha256'],
  ['1.2.840.113549.1.1.5', 'sha256'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.10045.4.1', 'sha256'],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.2.840.10040.4.3', 'sha256'],
  ['2.16.840.1.101.3.4.3.1', 'sha224'],
  ['2.16.840.1.101.3.4.3.2', 'sha256'],
]);
/** RSASSA-PSS names its hash in the parameters; SHA-1 where they say nothing. */
const RSA_PSS = '1.2.840.113549.1.1.10';
const PSS_HASHES: ReadonlyMap<string, string> = new Map([
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
]);

/**
 * The data of `tls-server-end-point` for a server's certificate in DER. Null where its signature has no hash of its own
 * (Ed25519): nobody can tell which to use, and channel binding is not possible.
 */
export function endPointBinding(der: Buffer): Buffer | null {
  const [, algorithm] = certificateParts(der);
  const [id, parameters] = algorithm === undefined ? [] : derElements(algorithm.content);
  if (id?.tag !== OBJECT_ID) return null;
  const name = objectId(id.content);
  const hash = name === RSA_PSS ? pssHash(parameters) : HASHES.get(name);
  return hash === undefined ? null : createHash(hash).update(der).digest();
}

function pssHash(parameters: DerElement | undefined): string {
  const [first] = parameters === undefined ? [] : derElements(parameters.content);
  if (first?.tag !== 0xa0) return 'sha256';
  const [algorithm] = derElements(first.content);
  const [id] = algorithm === undefined ? [] : derElements(algorithm.content);
  return (id === undefined ? undefined : PSS_HASHES.get(objectId(id.content))) ?? 'sha256';
}

export interface Subject {
  /** Null where there is none, or one with a zero byte in it, which can only be meant to deceive. */
  readonly commonName: string | null;
  /** As PostgreSQL compares it for `clientname=DN`: RFC 2253, so the last part first. */
  readonly distinguishedName: string;
}

export function subjectOf(der: Buffer): Subject {
  const [tbs] = certificateParts(der);
  const fields = derElements(tbs?.content ?? Buffer.alloc(0));
  // The version is optional; then come serial number, signature, issuer, validity, subject.
  const subject = fields[fields[0]?.tag === 0xa0 ? 5 : 4];
  const parts = derElements(subject?.content ?? Buffer.alloc(0)).map((set) => derElements(set.content).map(attribute));
  const common = parts.flat().find(({ name }) => name === 'CN')?.text ?? null;
  return {
    commonName: common === null || common.includes('\0') ? null : common,
    distinguishedName: parts
      .toReversed()
      .map((set) =>
        set
          .toReversed()
          .map(({ name, text, der: raw }) => `${name}=${text === null ? `#${raw}` : escaped(text)}`)
          .join('+'),
      )
      .join(','),
  };
}

function certificateParts(der: Buffer): DerElement[] {
  const [certificate] = derElements(der);
  if (certificate?.tag !== SEQUENCE) throw new RangeError('not a certificate');
  return derElements(certificate.content);
}

const ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.4', 'SN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'street'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.12', 'title'],
  ['2.5.4.42', 'GN'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
]);

interface Attribute {
  readonly name: string;
  /** Null: an unknown attribute, or no text; its value is written as it is encoded. */
  readonly text: string | null;
  readonly der: string;
}

function attribute(pair: DerElement): Attribute {
  const [id, value] = derElements(pair.content);
  const dotted = objectId(id?.content ?? Buffer.alloc(0));
  const known = ATTRIBUTES.get(dotted);
  return {
    name: known ?? dotted,
    text: known === undefined || value === undefined ? null : textOf(value),
    der: value?.whole.toString('hex').toUpperCase() ?? '',
  };
}

function textOf({ tag, content }: DerElement): string | null {
  if (tag === 0x0c) return content.toString('utf8');
  if (tag === 0x13 || tag === 0x16 || tag === 0x14 || tag === 0x12) return content.toString('latin1');
  if (tag === 0x1e && content.length % 2 === 0) return Buffer.from(content).swap16().toString('utf16le');
  return null;
}

/** Control characters and what is not ASCII go by byte, as OpenSSL does for RFC 2253. */
function escaped(text: string): string {
  const bytes = Buffer.from(text);
  let out = '';
  for (const [index, byte] of bytes.entries()) {
    const character = String.fromCharCode(byte);
    const atEdge =
      (character === ' ' && (index === 0 || index === bytes.length - 1)) || (character === '#' && index === 0);
    if (byte < 0x20 || byte > 0x7e) out += `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    else out += atEdge || ',+"\\<>;'.includes(character) ? `\\${character}` : character;
  }
  return out;
}
