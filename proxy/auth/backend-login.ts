import { randomBytes } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { ClientError, LeaseholdError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import {
  abortError,
  ConnectionClosed,
  HandshakeReader,
  ignoreErrors,
  type Message,
  socketEvent,
  timeLimit,
} from './handshake.ts';
import { createScramClient, MECHANISM, OutdatedKeysError, type ScramClient, ScramError } from './scram.ts';
import type { BackendLogin, BackendTarget } from './types.ts';

export interface LoginOptions {
  readonly signal: AbortSignal;
  /** For the whole of it: connection, TLS, authentication, until ReadyForQuery. */
  readonly connectTimeoutMs: number;
}

/** Version 3.2 has longer cancel keys; a server that does not know it (before PostgreSQL 18) says so and speaks 3.0. */
const NEWEST_MINOR = 2;
/** No message of a login is longer; an ErrorResponse may be long. */
const MAX_LOGIN_MESSAGE = 1024 * 1024;

/**
 * Opens a connection to a server and logs in. The caller owns the socket of the result.
 *
 * Throws ClientError with the server's own SQLSTATE and text where the server refused (3D000, 53300, 57P03, 28P01);
 * LeaseholdError `BACKEND_UNREACHABLE` where it could not be reached, did not answer in time or closed;
 * `BACKEND_TLS` or `BACKEND_AUTH` where what it offers is not secure enough or it could not prove who it is;
 * the signal's reason when it aborts.
 */
export async function loginToBackend(target: BackendTarget, options: LoginOptions): Promise<BackendLogin> {
  const where = `${target.host}:${target.port}`;
  using limit = timeLimit(options.signal, options.connectTimeoutMs, () =>
    unreachable(where, `no answer within ${options.connectTimeoutMs} ms`),
  );
  let socket: Socket | null = null;
  try {
    socket = await openSocket(target, limit.signal);
    if (target.tls.mode !== 'disable') socket = await upgrade(socket, target, limit.signal);
    const reader = new HandshakeReader(socket, limit.signal);
    const session = await logIn(socket, reader, target);
    reader.release();
    return { socket, ...session };
  } catch (error) {
    socket?.destroy();
    if (error instanceof ConnectionClosed)
      throw unreachable(where, 'it closed the connection during login', error.cause);
    throw error;
  }
}

async function openSocket(target: BackendTarget, signal: AbortSignal): Promise<Socket> {
  const { host, port } = target;
  if (signal.aborted) throw abortError(signal);
  const socket = host.startsWith('/')
    ? connectTcp({ path: `${host}/.s.PGSQL.${port}` })
    : connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 5000 });
  ignoreErrors(socket);
  await settled(socket, 'connect', signal, (error) => unreachable(`${host}:${port}`, reasonOf(error), error));
  return socket;
}

async function upgrade(socket: Socket, target: BackendTarget, signal: AbortSignal): Promise<TLSSocket> {
  const where = `${target.host}:${target.port}`;
  const reader = new HandshakeReader(socket, signal);
  socket.write(encode.SSL_REQUEST);
  const answer = (await reader.bytes(1)).toString('latin1');
  // More than the one byte before TLS began can only come from somebody in between (CVE-2021-23222).
  const stuffed = reader.buffered > 0;
  reader.release();
  if (answer !== 'S') {
    throw new LeaseholdError(
      'BACKEND_TLS',
      `server ${where} does not offer TLS, but serverTls.mode is ${target.tls.mode}`,
    );
  }
  if (stuffed)
    throw new LeaseholdError('BACKEND_TLS', `server ${where} sent unencrypted data after its answer to SSLRequest`);
  const secure = connectTls({
    socket,
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    host: target.host,
    ...(target.tls.ca === undefined ? {} : { ca: target.tls.ca }),
    rejectUnauthorized: target.tls.mode === 'verify-full',
    ALPNProtocols: ['postgresql'],
  });
  ignoreErrors(secure);
  await settled(
    secure,
    'secureConnect',
    signal,
    (error) => new LeaseholdError('BACKEND_TLS', `TLS with server ${where} failed: ${reasonOf(error)}`, error),
  );
  return secure;
}

/** Waits for one event of a socket that is being opened; whatever else happens closes it. */
async function settled(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
  failure: (cause: unknown) => Error,
): Promise<void> {
  try {
    await socketEvent(socket, event, signal);
  } catch (error) {
    socket.destroy();
    throw error instanceof ConnectionClosed ? failure(error.cause) : error;
  }
}

type Session = Omit<BackendLogin, 'socket'>;

/** What is spoken, until the server says otherwise. */
interface Version {
  minor: number;
}

async function logIn(socket: Socket, reader: HandshakeReader, target: BackendTarget): Promise<Session> {
  const version: Version = { minor: NEWEST_MINOR };
  socket.write(encode.startupMessage(startupParameters(target), NEWEST_MINOR));
  await authenticate(socket, reader, target, version);
  const parameters = new Map<string, string>();
  let key: decode.BackendKey = { processId: 0, secretKey: Buffer.alloc(4) };
  for (;;) {
    const message = await nextMessage(reader, version);
    const bounds = [message.buffer, message.start, message.end] as const;
    if (message.type === 'S') parameters.set(...decode.decodeParameterStatus(...bounds));
    else if (message.type === 'K') key = decode.decodeBackendKeyData(...bounds);
    else if (message.type === 'Z') return { ...key, parameters, protocolMinor: version.minor };
    else throw unexpected(target, message.type);
  }
}

function startupParameters(target: BackendTarget): [string, string][] {
  const parameters: [string, string][] = [
    ['user', target.user],
    ['database', target.database],
  ];
  if (target.replication !== undefined) {
    parameters.push(['replication', target.replication === 'physical' ? 'true' : 'database']);
  }
  parameters.push(...target.parameters);
  return parameters;
}

async function authenticate(
  socket: Socket,
  reader: HandshakeReader,
  target: BackendTarget,
  version: Version,
): Promise<void> {
  const where = `${target.host}:${target.port}`;
  let scram: ScramClient | null = null;
  let proven = false;
  for (;;) {
    const message = await nextMessage(reader, version);
    if (message.type !== 'R') throw unexpected(target, message.type);
    const request = decode.decodeAuthentication(message.buffer, message.start, message.end);
    if (request.kind === 'ok') {
      // Without SCRAM: the server trusts this address. With it: the server must have proven that it knows the verifier.
      if (scram === null || proven) return;
      throw new LeaseholdError('BACKEND_AUTH', `server ${where} ended the SCRAM exchange without its own proof`);
    }
    if (request.kind === 'sasl' && scram === null && request.mechanisms.includes(MECHANISM)) {
      scram = createScramClient(target.credentials, randomBytes(18).toString('base64'));
      socket.write(encode.saslInitialResponse(MECHANISM, scram.first()));
    } else if (request.kind === 'sasl-continue' && scram !== null && !proven) {
      socket.write(encode.saslResponse(await respond(scram, request.data, target)));
    } else if (request.kind === 'sasl-final' && scram !== null) {
      proven = scram.verify(request.data);
      if (!proven)
        throw new LeaseholdError('BACKEND_AUTH', `server ${where} does not know the verifier of "${target.user}"`);
    } else {
      throw new LeaseholdError('BACKEND_AUTH', refusedMethod(where, target.user, request));
    }
  }
}

async function respond(scram: ScramClient, serverFirst: string, target: BackendTarget): Promise<string> {
  try {
    return await scram.respond(serverFirst);
  } catch (error) {
    if (error instanceof OutdatedKeysError) {
      throw new ClientError({
        sqlState: '28P01',
        severity: 'FATAL',
        message: `password of user "${target.user}" was changed since this session logged in`,
        hint: 'Connect again with the new password.',
        cause: error,
      });
    }
    if (error instanceof ScramError) {
      throw new LeaseholdError('BACKEND_AUTH', `server ${target.host}:${target.port}: ${error.message}`, error);
    }
    throw error;
  }
}

/** The next message that is not a notice. An error ends the login as the server says it. */
async function nextMessage(reader: HandshakeReader, version: Version): Promise<Message> {
  for (;;) {
    const message = await reader.message(MAX_LOGIN_MESSAGE);
    if (message.type === 'N') continue;
    if (message.type === 'v') {
      const minor = decode.decodeNegotiateProtocolVersion(message.buffer, message.start, message.end);
      version.minor = Math.min(version.minor, minor);
      continue;
    }
    if (message.type !== 'E') return message;
    const fields = decode.decodeErrorFields(message.buffer, message.start, message.end);
    throw new ClientError({
      sqlState: fields.sqlState,
      severity: 'FATAL',
      message: fields.message,
      ...(fields.detail === '' ? {} : { detail: fields.detail }),
      ...(fields.hint === '' ? {} : { hint: fields.hint }),
    });
  }
}

function refusedMethod(where: string, user: string, request: decode.Authentication): string {
  const code = request.kind === 'other' ? request.code : null;
  const method =
    code === 3 ? 'a clear-text password' : code === 5 ? 'MD5' : code === null ? request.kind : `method ${code}`;
  return (
    `server ${where} asks for ${method} to log in user "${user}"; only SCRAM-SHA-256 is supported: ` +
    `let pg_hba.conf say scram-sha-256 and set the password again with password_encryption = 'scram-sha-256'`
  );
}

function unexpected(target: BackendTarget, type: string): LeaseholdError {
  return new LeaseholdError(
    'BACKEND_UNREACHABLE',
    `server ${target.host}:${target.port} sent an unexpected message '${type}' during login`,
  );
}

function unreachable(where: string, why: string, cause?: unknown): LeaseholdError {
  return new LeaseholdError('BACKEND_UNREACHABLE', `cannot connect to server ${where}: ${why}`, cause);
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'connection refused'],
  ['ECONNRESET', 'connection reset'],
  ['ETIMEDOUT', 'timed out'],
  ['EHOSTUNREACH', 'no route to host'],
  ['ENETUNREACH', 'network unreachable'],
  ['ENOTFOUND', 'host name not found'],
  ['ENOENT', 'no such socket'],
]);

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'connection closed';
  return REASONS.get((error as NodeJS.ErrnoException).code ?? '') ?? (error.message || 'connection failed');
}
