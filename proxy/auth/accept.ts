import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { ClientError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import { authenticateClient } from './client-auth.ts';
import { type ClientTls, Connection } from './connection.ts';
import { closeWith, ConnectionClosed, type HandshakeReader, ignoreErrors, timeLimit } from './handshake.ts';
import { hasHostName, plainAddress } from './host-names.ts';
import { type AuthPolicy, DEFAULT_POLICY } from './policy.ts';
import type { AcceptedClient, AcceptOutcome, VerifierSource } from './types.ts';

export interface AcceptOptions {
  readonly verifiers: VerifierSource;
  /** Null: SSLRequest is answered with 'N'. */
  readonly tls: ClientTls | null;
  readonly tlsRequired: boolean;
  /** Over a Unix socket, where there is no TLS. */
  readonly local?: boolean;
  /** By default everybody logs in by SCRAM. */
  readonly policy?: AuthPolicy;
  /** For the whole of start-up and authentication. */
  readonly timeoutMs?: number;
  /** Aborted when the proxy stops: the connection is closed. */
  readonly signal: AbortSignal;
  /** From what the salts of unknown users come; shared by all proxies of a cluster, else proxies could be compared. */
  readonly mockSecret?: Buffer;
}

/** Of protocol 3. */
const NEWEST_MINOR = 2;
/** The first byte of a TLS handshake; as the length of a start-up packet it would be hundreds of megabytes. */
const TLS_HANDSHAKE = 0x16;
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
  const connection = new Connection(socket, limit.signal);
  try {
    const packet = await readStartup(connection, options);
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

class AuthenticationTimeout extends Error {
  constructor() {
    super('start-up and authentication took too long');
  }
}

/** Not PostgreSQL's protocol: closed without an answer, as PostgreSQL does. */
class NotPostgres extends Error {}

type Startup = Extract<decode.StartupPacket, { kind: 'startup' }>;
type Cancel = Extract<decode.StartupPacket, { kind: 'cancel' }>;

async function readStartup(connection: Connection, options: AcceptOptions): Promise<Startup | Cancel> {
  const tls = options.local === true ? null : options.tls;
  const direct = (await connection.reader.peek(1))[0] === TLS_HANDSHAKE;
  if (direct) await startDirectTls(connection, tls);
  let tlsAnswered = direct;
  let gssAnswered = false;
  for (;;) {
    const packet = await readPacket(connection.reader);
    if (packet.kind === 'ssl' && !tlsAnswered) {
      tlsAnswered = true;
      if (tls === null) connection.socket.write('N');
      else await connection.answerSslRequest(tls);
    } else if (packet.kind === 'gssenc' && !gssAnswered && connection.tls === null) {
      gssAnswered = true;
      connection.socket.write('N');
    } else if (packet.kind === 'unsupported') {
      const asked = `${packet.major}.${packet.minor}`;
      throw fatal('0A000', `unsupported frontend protocol ${asked}: server supports 3.0 to 3.${NEWEST_MINOR}`);
    } else if (packet.kind === 'startup' || packet.kind === 'cancel') {
      return packet;
    } else {
      throw new NotPostgres('repeated encryption request');
    }
  }
}

/** TLS without SSLRequest: the client must say by ALPN that it means PostgreSQL, lest another protocol be smuggled in (ALPACA). */
async function startDirectTls(connection: Connection, tls: ClientTls | null): Promise<void> {
  if (tls === null) throw new NotPostgres('TLS without SSLRequest, but no TLS is offered');
  if ((await connection.startTls(tls)) !== 'postgresql') {
    throw new NotPostgres('received direct SSL connection request without ALPN protocol negotiation extension');
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

async function authenticate(
  connection: Connection,
  packet: Startup,
  options: AcceptOptions,
  signal: AbortSignal,
): Promise<AcceptedClient> {
  if (options.tlsRequired && connection.tls === null && options.local !== true) {
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
  const address = plainAddress(connection.socket.remoteAddress);
  const facts = {
    local: options.local === true,
    address,
    encrypted: connection.tls !== null,
    user,
    database,
    replication,
  };
  const credentials = await authenticateClient(connection, facts, {
    policy: options.policy ?? DEFAULT_POLICY,
    verifiers: options.verifiers,
    mockSecret: options.mockSecret ?? processSecret,
    hasHostName: (name) => hasHostName(address, name),
    signal,
  });
  connection.socket.write(encodeAuth.AUTHENTICATION_OK);
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
