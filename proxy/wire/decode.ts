import { ClientError } from '../../common/errors.ts';
import type { TargetKind } from './encode.ts';

/**
 * The messages that the proxy itself reads. Every function takes the buffer and the bounds of the message's *body*
 * (after type and length, `end` exclusive), never reads outside of them, and throws ClientError 08P01 (FATAL)
 * for anything that does not parse.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

/** Server and client both refuse longer start-up packets (MAX_STARTUP_PACKET_LENGTH of libpq/pqcomm.h). */
export const MAX_STARTUP_BYTES = 10_000;
/** PG_MAX_AUTH_TOKEN_LENGTH: no authentication message is longer. */
export const MAX_AUTH_BYTES = 65_535;

export type StartupPacket =
  | {
      readonly kind: 'startup';
      readonly minor: number;
      /** In the order sent; of a repeated name the last counts. */
      readonly parameters: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Buffer }
  | { readonly kind: 'unsupported'; readonly major: number; readonly minor: number };

/** The whole packet's length from its first four bytes. */
export function startupPacketLength(buffer: Buffer, start = 0): number {
  const length = int32(buffer, start, buffer.length);
  if (length < 8 || length > MAX_STARTUP_BYTES) throw protocolViolation('invalid length of startup packet');
  return length;
}

/** `packet` is one whole start-up packet with its length word. */
export function decodeStartupPacket(packet: Buffer): StartupPacket {
  if (startupPacketLength(packet) !== packet.length) throw protocolViolation('invalid length of startup packet');
  const code = packet.readInt32BE(4);
  const major = packet.readUInt16BE(4);
  const minor = packet.readUInt16BE(6);
  if (code === 80877103) return { kind: 'ssl' };
  if (code === 80877104) return { kind: 'gssenc' };
  if (code === 80877102) {
    const processId = int32(packet, 8, packet.length);
    const secretKey = Buffer.from(packet.subarray(12));
    if (secretKey.length < 4 || secretKey.length > 256) throw protocolViolation('invalid length of cancel key');
    return { kind: 'cancel', processId, secretKey };
  }
  if (major !== 3) return { kind: 'unsupported', major, minor };
  return { kind: 'startup', minor, parameters: startupParameters(packet) };
}

function startupParameters(packet: Buffer): Map<string, string> {
  const parameters = new Map<string, string>();
  const end = packet.length;
  let at = 8;
  while (at < end && packet[at] !== 0) {
    const nameEnd = stringEnd(packet, at, end);
    const valueEnd = stringEnd(packet, nameEnd + 1, end);
    parameters.set(packet.toString('utf8', at, nameEnd), packet.toString('utf8', nameEnd + 1, valueEnd));
    at = valueEnd + 1;
  }
  if (at !== end - 1) throw protocolViolation('invalid startup packet layout: expected terminator as last byte');
  return parameters;
}

// ---- from clients

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** Null where the client sent no initial data. */
  readonly data: string | null;
}

export function decodeSaslInitialResponse(buffer: Buffer, start: number, end: number): SaslInitialResponse {
  const mechanismEnd = stringEnd(buffer, start, end);
  const size = int32(buffer, mechanismEnd + 1, end);
  const dataStart = mechanismEnd + 5;
  if (size === -1 ? dataStart !== end : size < 0 || dataStart + size !== end) throw protocolViolation();
  return {
    mechanism: buffer.toString('latin1', start, mechanismEnd),
    data: size === -1 ? null : buffer.toString('utf8', dataStart, end),
  };
}

/** The text of a Query: bytes `start` to the result, exclusive. */
export function queryTextEnd(buffer: Buffer, start: number, end: number): number {
  const textEnd = stringEnd(buffer, start, end);
  if (textEnd !== end - 1) throw protocolViolation();
  return textEnd;
}

/** Offsets are into the buffer given. */
export interface ParseMessage {
  readonly name: string;
  /** The SQL text, without its trailing zero. */
  readonly textStart: number;
  readonly textEnd: number;
  /** The message's tail: an int16 count, then that many int32 oids. Ends with the message. */
  readonly oidsStart: number;
  readonly oidCount: number;
}

export function decodeParse(buffer: Buffer, start: number, end: number): ParseMessage {
  const nameEnd = stringEnd(buffer, start, end);
  const textStart = nameEnd + 1;
  const textEnd = stringEnd(buffer, textStart, end);
  const oidsStart = textEnd + 1;
  const oidCount = uint16(buffer, oidsStart, end);
  if (oidsStart + 2 + 4 * oidCount !== end) throw protocolViolation();
  return { name: buffer.toString('utf8', start, nameEnd), textStart, textEnd, oidsStart, oidCount };
}

export interface BindMessage {
  readonly portal: string;
  readonly statement: string;
  /** Where formats and parameters begin; they end with the message. */
  readonly tailStart: number;
}

export function decodeBind(buffer: Buffer, start: number, end: number): BindMessage {
  const portalEnd = stringEnd(buffer, start, end);
  const statementEnd = stringEnd(buffer, portalEnd + 1, end);
  return {
    portal: buffer.toString('utf8', start, portalEnd),
    statement: buffer.toString('utf8', portalEnd + 1, statementEnd),
    tailStart: statementEnd + 1,
  };
}

/** A parameter of a Bind as sent, for the few statements whose arguments the proxy acts on. Null: NULL. */
export function decodeBindParameters(buffer: Buffer, tailStart: number, end: number): (Buffer | null)[] {
  const formats = uint16(buffer, tailStart, end);
  let at = tailStart + 2 + 2 * formats;
  const count = uint16(buffer, at, end);
  at += 2;
  const values: (Buffer | null)[] = [];
  for (let i = 0; i < count; i++) {
    const size = int32(buffer, at, end);
    at += 4;
    if (size < -1 || (size > 0 && at + size > end)) throw protocolViolation();
    values.push(size === -1 ? null : buffer.subarray(at, at + size));
    if (size > 0) at += size;
  }
  return values;
}

/** The target of a Describe or a Close. */
export interface TargetMessage {
  readonly kind: TargetKind;
  readonly name: string;
}

export function decodeTarget(buffer: Buffer, start: number, end: number): TargetMessage {
  const kind = start < end ? buffer[start] : undefined;
  if (kind !== 0x53 && kind !== 0x50) throw protocolViolation('invalid DESCRIBE or CLOSE message subtype');
  const nameEnd = stringEnd(buffer, start + 1, end);
  if (nameEnd !== end - 1) throw protocolViolation();
  return { kind: kind === 0x53 ? 'S' : 'P', name: buffer.toString('utf8', start + 1, nameEnd) };
}

export interface ExecuteMessage {
  readonly portal: string;
  /** 0: all. */
  readonly maxRows: number;
}

export function decodeExecute(buffer: Buffer, start: number, end: number): ExecuteMessage {
  const portalEnd = stringEnd(buffer, start, end);
  if (portalEnd + 5 !== end) throw protocolViolation();
  return { portal: buffer.toString('utf8', start, portalEnd), maxRows: int32(buffer, portalEnd + 1, end) };
}

// ---- from servers

export type Authentication =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: string }
  | { readonly kind: 'sasl-final'; readonly data: string }
  | { readonly kind: 'other'; readonly code: number };

export function decodeAuthentication(buffer: Buffer, start: number, end: number): Authentication {
  const code = int32(buffer, start, end);
  const at = start + 4;
  if (code === 0) return { kind: 'ok' };
  if (code === 3) return { kind: 'cleartext' };
  if (code === 5 && end - at === 4) return { kind: 'md5', salt: Buffer.from(buffer.subarray(at, end)) };
  if (code === 10) return { kind: 'sasl', mechanisms: stringList(buffer, at, end) };
  if (code === 11) return { kind: 'sasl-continue', data: buffer.toString('utf8', at, end) };
  if (code === 12) return { kind: 'sasl-final', data: buffer.toString('utf8', at, end) };
  return { kind: 'other', code };
}

export function decodeParameterStatus(buffer: Buffer, start: number, end: number): readonly [string, string] {
  const nameEnd = stringEnd(buffer, start, end);
  const valueEnd = stringEnd(buffer, nameEnd + 1, end);
  return [buffer.toString('utf8', start, nameEnd), buffer.toString('utf8', nameEnd + 1, valueEnd)];
}

/** The minor version of protocol 3 that the server speaks from now on. */
export function decodeNegotiateProtocolVersion(buffer: Buffer, start: number, end: number): number {
  const version = int32(buffer, start, end);
  if (version >>> 16 !== 3) throw protocolViolation('invalid protocol negotiation message');
  return version & 0xffff;
}

export interface BackendKey {
  readonly processId: number;
  readonly secretKey: Buffer;
}

export function decodeBackendKeyData(buffer: Buffer, start: number, end: number): BackendKey {
  const processId = int32(buffer, start, end);
  if (end - start < 8 || end - start > 260) throw protocolViolation();
  return { processId, secretKey: Buffer.from(buffer.subarray(start + 4, end)) };
}

/** Of an ErrorResponse or a NoticeResponse; '' where the server did not send the field. */
export interface ErrorFields {
  /** Untranslated where the server sends it so (PostgreSQL ≥ 9.6). */
  readonly severity: string;
  readonly sqlState: string;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
  /** The server's source file and function. */
  readonly file: string;
  readonly routine: string;
}

export function decodeErrorFields(buffer: Buffer, start: number, end: number): ErrorFields {
  const fields = new Map<string, string>();
  let at = start;
  while (at < end && buffer[at] !== 0) {
    const valueEnd = stringEnd(buffer, at + 1, end);
    fields.set(String.fromCharCode(buffer[at] as number), buffer.toString('utf8', at + 1, valueEnd));
    at = valueEnd + 1;
  }
  if (at !== end - 1) throw protocolViolation();
  const field = (code: string): string => fields.get(code) ?? '';
  return {
    severity: field('V') || field('S'),
    sqlState: field('C'),
    message: field('M'),
    detail: field('D'),
    hint: field('H'),
    file: field('F'),
    routine: field('R'),
  };
}

/** `INSERT 0 1` and the like. */
export function decodeCommandTag(buffer: Buffer, start: number, end: number): string {
  return buffer.toString('latin1', start, stringEnd(buffer, start, end));
}

// ---- pieces

/** What a peer sent is not the protocol. The session cannot go on, since nobody knows what would come next. */
export function protocolViolation(message = 'invalid message format'): ClientError {
  return new ClientError({ sqlState: '08P01', severity: 'FATAL', message });
}

function int32(buffer: Buffer, at: number, end: number): number {
  if (at + 4 > end) throw protocolViolation('insufficient data left in message');
  return buffer.readInt32BE(at);
}

function uint16(buffer: Buffer, at: number, end: number): number {
  if (at + 2 > end) throw protocolViolation('insufficient data left in message');
  return buffer.readUInt16BE(at);
}

/** The offset of the zero byte that ends the string at `start`. */
function stringEnd(buffer: Buffer, start: number, end: number): number {
  const at = start < end ? buffer.indexOf(0, start) : -1;
  if (at < 0 || at >= end) throw protocolViolation('invalid string in message');
  return at;
}

function stringList(buffer: Buffer, start: number, end: number): string[] {
  const list: string[] = [];
  let at = start;
  while (at < end && buffer[at] !== 0) {
    const itemEnd = stringEnd(buffer, at, end);
    list.push(buffer.toString('latin1', at, itemEnd));
    at = itemEnd + 1;
  }
  return list;
}
