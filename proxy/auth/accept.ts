import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { ClientError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { closeWith, ConnectionClosed, HandshakeReader, ignoreErrors, socketEvent, timeLimit } from './handshake.ts';
import { createScramServer, MECHANISM, mockVerifier, ScramError } from './scram.ts';
import type { AcceptedClient, AcceptOutcome, ScramKeys, VerifierSource } from './types.ts';

export interface AcceptOptions {
  readonly verifiers: VerifierSource;
  /** Null: SSLRequest is answered with 'N'. */
  readonly tls: SecureContext | null;
  readonly tlsRequired: boolean;
  /** For the whole of start-up and authentication. */
  readonly timeoutMs?: number;
  /** Aborted when the proxy stops: the connection is closed. */
  readonly signal: AbortSignal;
  /** From what the salts of unknown users come; shared by all proxies of a cluster, else proxies could be compared. */
  readonly mockSecret?: Buffer;
}

/** Of protocol 3. */
const NEWEST_MINOR = 2;
const DEFAULT_TIMEOUT_MS = 15_000;
const processSecret = randomBytes(32);

/**
 * Start-up and authentication of one client connection; never rejects. Until it resolves it owns the socket; then
 * the caller does where the outcome is a client, and the socket is closed or closing where it is not.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */
export async function acceptClient(socket: Socket, options: AcceptOptions): Promise<AcceptOutcome> {
  // Answers are small and somebody waits for each: never hold one back to fill a packet.
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 30_000);
  using limit = timeLimit(options.signal, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, () => new AuthenticationTimeout());
  const connection: Connection = { socket, reader: new HandshakeReader(socket, limit.signal), encrypted: false };
  try {
    const packet = await readStartup(connection, options, limit.signal);
    if (packet.kind === 'cancel') {
      const { processId, secretKey } = packet;
      ignoreErrors(connection.socket);
      return { kind: 'cancel', processId, secretKey, close: () => finish(connection, null) };
    }
    const outcome = await authenticate(connection, packet, options, limit.signal);
    connection.reader.release();
    return outcome;
  } catch (error) {
    return refuse(connection, error);
  }
}

/** What carries the client now: the TCP socket, then the TLS one over it. */
interface Connection {
  socket: Socket | TLSSocket;
  reader: HandshakeReader;
  encrypted: boolean;
}

class AuthenticationTimeout extends Error {
  constructor() {
    super('start-up and authentication took too long');
  }
}

/** Not PostgreSQL's protocol: closed without an answer, as PostgreSQL does. */
class NotPostgres extends Error {}

type Startup = Extract<decode.StartupPacket, { kind: 'startup' }>;
type Cancel = Extract<decode.StartupPacket, { kind: 'cancel' }>;

async function readStartup(
  connection: Connection,
  options: AcceptOptions,
  signal: AbortSignal,
): Promise<Startup | Cancel> {
  let tlsAnswered = false;
  let gssAnswered = false;
  for (;;) {
    const packet = await readPacket(connection.reader);
    if (packet.kind === 'ssl' && !tlsAnswered) {
      tlsAnswered = true;
      if (options.tls === null) connection.socket.write('N');
      else await startTls(connection, options.tls, signal);
    } else if (packet.kind === 'gssenc' && !gssAnswered && !connection.encrypted) {
      gssAnswered = true;
      connection.socket.write('N');
    } else if (packet.kind === 'unsupported') {
      throw fatal(
        '0A000',
        `unsupported frontend protocol ${packet.major}.${packet.minor}: server supports 3.0 to 3.${NEWEST_MINOR}`,
      );
    } else if (packet.kind === 'startup' || packet.kind === 'cancel') {
      return packet;
    } else {
      throw new NotPostgres('repeated encryption request');
    }
  }
}

async function readPacket(reader: HandshakeReader): Promise<decode.StartupPacket> {
  let length: number;
  try {
    length = decode.startupPacketLength(await reader.peek(4));
  } catch (error) {
    if (error instanceof ClientError) throw new NotPostgres(error.message);
    throw error;
  }
  return decode.decodeStartupPacket(await reader.bytes(length));
}

async function startTls(connection: Connection, secureContext: SecureContext, signal: AbortSignal): Promise<void> {
  const plain = connection.socket;
  // Bytes sent before our answer would be read as if they had come through TLS (CVE-2021-23214).
  if (connection.reader.buffered > 0) {
    throw new ClientError({
      sqlState: '08P01',
      severity: 'FATAL',
      message: 'received unencrypted data after SSL request',
      detail: 'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.',
    });
  }
  connection.reader.release();
  plain.write('S');
  const secure = new TLSSocket(plain, { isServer: true, secureContext });
  connection.socket = secure;
  connection.reader = new HandshakeReader(secure, signal);
  await socketEvent(secure, 'secure', signal);
  connection.encrypted = true;
}

async function authenticate(
  connection: Connection,
  packet: Startup,
  options: AcceptOptions,
  signal: AbortSignal,
): Promise<AcceptedClient> {
  if (options.tlsRequired && !connection.encrypted) {
    throw fatal(
      '28000',
      'connections without TLS are refused by this proxy',
      'Connect with sslmode=require or stronger.',
    );
  }
  const parameters = new Map(packet.parameters);
  const protocolMinor = negotiate(connection.socket, packet.minor, parameters);
  const user = identifier(parameters.get('user') ?? '');
  if (user === '') throw fatal('28000', 'no PostgreSQL user name specified in startup packet');
  const database = identifier(parameters.get('database') || user);
  const replication = replicationMode(parameters.get('replication'));
  for (const name of ['user', 'database', 'replication']) parameters.delete(name);
  const credentials = await runScram(connection, user, options, signal);
  return {
    kind: 'client',
    socket: connection.socket,
    user,
    database,
    parameters,
    replication,
    credentials,
    protocolMinor,
  };
}

/**
 * What a client asks for beyond 3.2 is answered with what there is; the client decides whether to go on. 3.1, which never
 * was, is left as asked for and means 3.0, as in PostgreSQL 18.
 */
function negotiate(socket: Socket, minor: number, parameters: Map<string, string>): 0 | 2 {
  const unknown = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  for (const name of unknown) parameters.delete(name);
  if (minor > NEWEST_MINOR || unknown.length > 0) {
    socket.write(encode.negotiateProtocolVersion(Math.min(minor, NEWEST_MINOR), unknown));
  }
  return minor >= 2 ? 2 : 0;
}

async function runScram(
  connection: Connection,
  user: string,
  options: AcceptOptions,
  signal: AbortSignal,
): Promise<ScramKeys> {
  const { socket } = connection;
  const known = await options.verifiers.lookup(user, signal);
  // An unknown user goes through the same exchange, so that it cannot be told from a wrong password.
  const verifier = known ?? mockVerifier(user, options.mockSecret ?? processSecret);
  socket.write(encode.authenticationSasl([MECHANISM]));
  const initial = decode.decodeSaslInitialResponse(...(await readSasl(connection.reader)));
  if (initial.mechanism !== MECHANISM)
    throw decode.protocolViolation('client selected an invalid SASL authentication mechanism');
  const scram = createScramServer(verifier, randomBytes(18).toString('base64'));
  try {
    let clientFirst = initial.data;
    if (clientFirst === null) {
      socket.write(encode.authenticationSaslContinue(''));
      clientFirst = text(await readSasl(connection.reader));
    }
    socket.write(encode.authenticationSaslContinue(scram.first(clientFirst)));
    const result = scram.final(text(await readSasl(connection.reader)));
    if (result === null || known === null) {
      throw fatal('28P01', `password authentication failed for user "${user}"`);
    }
    socket.write(Buffer.concat([encode.authenticationSaslFinal(result.serverFinal), encode.AUTHENTICATION_OK]));
    return { kind: 'scram-keys', clientKey: result.clientKey, verifier: known };
  } catch (error) {
    if (error instanceof ScramError) throw decode.protocolViolation(error.message);
    throw error;
  }
}

type Bounds = readonly [Buffer, number, number];

async function readSasl(reader: HandshakeReader): Promise<Bounds> {
  const message = await reader.message(decode.MAX_AUTH_BYTES);
  if (message.type === 'X') throw new ConnectionClosed();
  if (message.type !== 'p') {
    throw decode.protocolViolation(`expected SASL response, got message type ${message.type.charCodeAt(0)}`);
  }
  return [message.buffer, message.start, message.end];
}

function text(bounds: Bounds): string {
  return bounds[0].toString('utf8', bounds[1], bounds[2]);
}

/** PostgreSQL cuts names to NAMEDATALEN − 1 bytes; both sides must mean the same role and database. */
function identifier(name: string): string {
  if (Buffer.byteLength(name) <= 63) return name;
  let cut = Buffer.from(name).subarray(0, 63);
  while (cut.length > 0 && !isUtf8End(cut)) cut = cut.subarray(0, cut.length - 1);
  return cut.toString('utf8');
}

function isUtf8End(bytes: Buffer): boolean {
  return !bytes.toString('utf8').endsWith('\ufffd');
}

function replicationMode(value: string | undefined): AcceptedClient['replication'] {
  const word = (value ?? '').toLowerCase();
  if (word === 'database') return 'database';
  if (['true', 'on', 'yes', '1', 't', 'y'].includes(word)) return 'physical';
  if (['', 'false', 'off', 'no', '0', 'f', 'n'].includes(word)) return 'off';
  throw fatal(
    '22023',
    `invalid value for parameter "replication": "${value}"`,
    'Valid values are: "false", 0, "true", 1, "database".',
  );
}

function refuse(connection: Connection, error: unknown): AcceptOutcome {
  if (error instanceof ClientError) {
    finish(connection, encode.errorResponse(error));
    return { kind: 'refused', reason: `${error.sqlState} ${error.message}` };
  }
  finish(connection, null);
  if (error instanceof AuthenticationTimeout || error instanceof NotPostgres) {
    return { kind: 'refused', reason: error.message };
  }
  if (error instanceof ConnectionClosed) {
    const why = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return { kind: 'refused', reason: `the client closed the connection${why}` };
  }
  return { kind: 'refused', reason: error instanceof Error ? error.message : String(error) };
}

function finish(connection: Connection, last: Buffer | null): void {
  ignoreErrors(connection.socket);
  connection.reader.release();
  closeWith(connection.socket, last);
}

function fatal(sqlState: string, message: string, hint?: string): ClientError {
  return new ClientError({ sqlState, severity: 'FATAL', message, ...(hint === undefined ? {} : { hint }) });
}
