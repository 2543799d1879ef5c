import type { ClientError, ErrorSource } from '../../common/errors.ts';
import { message, putString, request, strings } from './build.ts';

/**
 * The messages that the proxy itself writes, to clients and to servers. Each function allocates its result and
 * nothing else; messages without content are constants and must not be written to.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

const TEXT_OID = 25;
const PROTOCOL_3_0 = 196608;
const CANCEL_CODE = 80877102;
const SSL_CODE = 80877103;

// ---- to clients

export const PARSE_COMPLETE = empty('1');
export const BIND_COMPLETE = empty('2');
export const CLOSE_COMPLETE = empty('3');
export const NO_DATA = empty('n');
export const PORTAL_SUSPENDED = empty('s');
export const EMPTY_QUERY_RESPONSE = empty('I');
export const READY_IDLE = ready('I');
export const READY_IN_TRANSACTION = ready('T');
export const READY_FAILED = ready('E');

export type TransactionStatus = 'I' | 'T' | 'E';

export function readyForQuery(status: TransactionStatus): Buffer {
  return status === 'I' ? READY_IDLE : status === 'T' ? READY_IN_TRANSACTION : READY_FAILED;
}

/**
 * The minor version of protocol 3 that is spoken from now on, and the `_pq_.` options that are not known. The version is sent
 * whole, as PostgreSQL does and libpq reads it, though the documentation speaks of the minor number.
 */
export function negotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  let length = 8;
  for (const option of unknownOptions) length += Buffer.byteLength(option) + 1;
  const out = message('v', length);
  out.writeInt32BE(PROTOCOL_3_0 + minor, 5);
  out.writeInt32BE(unknownOptions.length, 9);
  let at = 13;
  for (const option of unknownOptions) at = putString(out, at, option);
  return out;
}

export function parameterStatus(name: string, value: string): Buffer {
  return strings('S', name, value);
}

/** `secretKey` is 4 bytes in protocol 3.0, up to 256 in 3.2. */
/** An ErrorResponse in which a name is another one. */
export function withName(message: Buffer, from: string, to: string): Buffer {
  const body = message.toString('latin1', 5).replaceAll(from, Buffer.from(to).toString('latin1'));
  const out = Buffer.alloc(5 + body.length);
  message.copy(out, 0, 0, 1);
  out.writeInt32BE(4 + body.length, 1);
  out.write(body, 5, 'latin1');
  return out;
}

export function backendKeyData(processId: number, secretKey: Buffer): Buffer {
  const out = message('K', 4 + secretKey.length);
  out.writeInt32BE(processId, 5);
  secretKey.copy(out, 9);
  return out;
}

export interface TextColumn {
  readonly name: string;
  /** Type oid; text (25) when absent. */
  readonly oid?: number;
}

/** Columns of no table, sent as text. */
export function rowDescription(columns: readonly TextColumn[]): Buffer {
  let length = 2;
  for (const column of columns) length += Buffer.byteLength(column.name) + 19;
  const out = message('T', length);
  let at = out.writeInt16BE(columns.length, 5);
  for (const column of columns) {
    at = putString(out, at, column.name);
    at = out.writeInt32BE(0, at); // table
    at = out.writeInt16BE(0, at); // attribute
    at = out.writeInt32BE(column.oid ?? TEXT_OID, at);
    at = out.writeInt16BE(-1, at); // length: variable
    at = out.writeInt32BE(-1, at); // modifier
    at = out.writeInt16BE(0, at); // text
  }
  return out;
}

export function dataRow(values: readonly (string | null)[]): Buffer {
  let length = 2;
  for (const value of values) length += 4 + (value === null ? 0 : Buffer.byteLength(value));
  const out = message('D', length);
  let at = out.writeInt16BE(values.length, 5);
  for (const value of values) {
    if (value === null) {
      at = out.writeInt32BE(-1, at);
      continue;
    }
    const size = out.write(value, at + 4);
    at = out.writeInt32BE(size, at) + size;
  }
  return out;
}

export function commandComplete(tag: string): Buffer {
  return strings('C', tag);
}

export function parameterDescription(oids: readonly number[]): Buffer {
  const out = message('t', 2 + 4 * oids.length);
  let at = out.writeInt16BE(oids.length, 5);
  for (const oid of oids) at = out.writeUInt32BE(oid, at);
  return out;
}

export function errorResponse(error: ClientError): Buffer {
  return report('E', error.severity, error);
}

export interface Notice {
  readonly severity: 'WARNING' | 'NOTICE' | 'INFO' | 'LOG' | 'DEBUG';
  readonly sqlState: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  readonly source?: ErrorSource | undefined;
}

export function noticeResponse(notice: Notice): Buffer {
  return report('N', notice.severity, notice);
}

// ---- to servers

export const SYNC = empty('S');
export const FLUSH = empty('H');
export const TERMINATE = empty('X');
export const SSL_REQUEST = request(SSL_CODE, 0);

/** Parameters in the order given; `user` and `database` are among them. */
export function startupMessage(parameters: Iterable<readonly [string, string]>, minor = 0): Buffer {
  const pairs = [...parameters];
  let length = 1;
  for (const [name, value] of pairs) length += Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
  const out = request(PROTOCOL_3_0 + minor, length);
  let at = 8;
  for (const [name, value] of pairs) at = putString(out, putString(out, at, name), value);
  out[at] = 0;
  return out;
}

export function cancelRequest(processId: number, secretKey: Buffer): Buffer {
  const out = request(CANCEL_CODE, 4 + secretKey.length);
  out.writeInt32BE(processId, 8);
  secretKey.copy(out, 12);
  return out;
}

export function query(sql: string): Buffer {
  return strings('Q', sql);
}

/** `text` without its trailing zero; `oids` is the message's tail as received: a count and that many oids. */
export function parse(name: string, text: Buffer, oids: Buffer = NO_OIDS): Buffer {
  const out = message('P', Buffer.byteLength(name) + 1 + text.length + 1 + oids.length);
  let at = putString(out, 5, name);
  at += text.copy(out, at);
  out[at] = 0;
  oids.copy(out, at + 1);
  return out;
}

/** `tail` is everything after the two names, as received (see `BindMessage.tailStart`). */
export function bind(portal: string, statement: string, tail: Buffer = BIND_NOTHING): Buffer {
  const out = message('B', Buffer.byteLength(portal) + Buffer.byteLength(statement) + 2 + tail.length);
  tail.copy(out, putString(out, putString(out, 5, portal), statement));
  return out;
}

export type TargetKind = 'S' | 'P';

export function describe(kind: TargetKind, name: string): Buffer {
  return strings('D', kind + name);
}

export function close(kind: TargetKind, name: string): Buffer {
  return strings('C', kind + name);
}

/** `maxRows` 0: all. */
export function execute(portal: string, maxRows = 0): Buffer {
  const out = message('E', Buffer.byteLength(portal) + 1 + 4);
  out.writeInt32BE(maxRows, putString(out, 5, portal));
  return out;
}

// ---- pieces

const NO_OIDS = Buffer.from([0, 0]);
/** No parameters, every result column as text. */
const BIND_NOTHING = Buffer.from([0, 0, 0, 0, 0, 0]);

function empty(type: string): Buffer {
  return message(type, 0);
}

function ready(status: TransactionStatus): Buffer {
  const out = message('Z', 1);
  out[5] = status.charCodeAt(0);
  return out;
}

/** S is the severity translated to the server's language, V the same untranslated: here they never differ. */
function report(type: 'E' | 'N', severity: string, fields: Omit<Notice, 'severity'>): Buffer {
  const { sqlState, message: text, detail, hint, source } = fields;
  let length = 2 * (severity.length + 2) + sqlState.length + 2 + Buffer.byteLength(text) + 2 + 1;
  if (detail !== undefined) length += Buffer.byteLength(detail) + 2;
  if (hint !== undefined) length += Buffer.byteLength(hint) + 2;
  const line = String(source?.line);
  if (source !== undefined) length += source.file.length + line.length + source.routine.length + 6;
  const out = message(type, length);
  let at = putField(out, 5, 'S', severity);
  at = putField(out, at, 'V', severity);
  at = putField(out, at, 'C', sqlState);
  at = putField(out, at, 'M', text);
  if (detail !== undefined) at = putField(out, at, 'D', detail);
  if (hint !== undefined) at = putField(out, at, 'H', hint);
  if (source !== undefined) {
    at = putField(out, at, 'F', source.file);
    at = putField(out, at, 'L', line);
    at = putField(out, at, 'R', source.routine);
  }
  out[at] = 0;
  return out;
}

function putField(out: Buffer, at: number, code: string, value: string): number {
  out[at] = code.charCodeAt(0);
  return putString(out, at + 1, value);
}
