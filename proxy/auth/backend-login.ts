import type { Socket } from 'node:net';
import { ClientError, LeaseholdError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { BackendAuth } from './backend-auth.ts';
import { BackendTlsError, isUnixSocket, openSocket, unreachable, upgrade } from './backend-socket.ts';
import { ConnectionClosed, HandshakeReader, type Message, timeLimit } from './handshake.ts';
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
  const [first, second] = attempts(target);
  try {
    return await attempt(target, first, limit.signal);
  } catch (error) {
    if (second === undefined || !mayTryOtherwise(error)) throw error;
    return await attempt(target, second, limit.signal);
  }
}

/** `prefer` and `allow` are two attempts where the first is refused, as in libpq. */
function attempts(target: BackendTarget): readonly [boolean, boolean?] {
  const { tls } = target;
  if (tls.mode === 'disable' || isUnixSocket(target)) return [false];
  if (tls.mode === 'allow') return [false, true];
  return tls.mode === 'prefer' ? [true, false] : [true];
}

/** The server lets nobody in like this, or TLS with it failed. */
function mayTryOtherwise(error: unknown): boolean {
  return error instanceof BackendTlsError || (error instanceof ClientError && error.sqlState === '28000');
}

async function attempt(target: BackendTarget, encrypted: boolean, signal: AbortSignal): Promise<BackendLogin> {
  let socket: Socket | null = null;
  try {
    socket = await openSocket(target, signal);
    if (encrypted) socket = await upgrade(socket, target, signal);
    const reader = new HandshakeReader(socket, signal);
    const session = await logIn(socket, reader, target);
    reader.release();
    return { socket, ...session };
  } catch (error) {
    socket?.destroy();
    if (error instanceof ConnectionClosed) {
      throw unreachable(`${target.host}:${target.port}`, 'it closed the connection during login', error.cause);
    }
    throw error;
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
  const auth = new BackendAuth(socket, target);
  for (let letIn = false; !letIn; ) {
    const message = await nextMessage(reader, version);
    if (message.type !== 'R') throw unexpected(target, message.type);
    letIn = await auth.answer(decode.decodeAuthentication(message.buffer, message.start, message.end));
  }
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

function unexpected(target: BackendTarget, type: string): LeaseholdError {
  return new LeaseholdError(
    'BACKEND_UNREACHABLE',
    `server ${target.host}:${target.port} sent an unexpected message '${type}' during login`,
  );
}
