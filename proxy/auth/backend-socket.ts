import { isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { LeaseholdError } from '../../common/errors.ts';
import { DirectSocket } from '../net/direct-socket.ts';
import * as encode from '../wire/encode.ts';
import { abortError, ConnectionClosed, HandshakeReader, ignoreErrors, socketEvent } from './handshake.ts';
import type { BackendTarget } from './types.ts';

/** TLS with a server is not there or failed. */
export class BackendTlsError extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('BACKEND_TLS', message, cause);
  }
}

/** A connection to a server's address or Unix socket. Throws LeaseholdError `BACKEND_UNREACHABLE`, or the signal's reason. */
export async function openSocket(target: BackendTarget, signal: AbortSignal): Promise<Socket> {
  const { host, port } = target;
  if (signal.aborted) throw abortError(signal);
  const socket = new DirectSocket({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 5000 });
  socket.connect(isUnixSocket(target) ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
  ignoreErrors(socket);
  await settled(socket, 'connect', signal, (error) => unreachable(`${host}:${port}`, reasonOf(error), error));
  return socket;
}

/** There libpq does not speak TLS either. */
export function isUnixSocket(target: BackendTarget): boolean {
  return target.host.startsWith('/');
}

/**
 * Asks for TLS and begins it. Returns the socket as it is where the server offers none and the mode is `prefer`. Throws
 * BackendTlsError.
 */
export async function upgrade(socket: Socket, target: BackendTarget, signal: AbortSignal): Promise<Socket | TLSSocket> {
  const { tls } = target;
  const where = `${target.host}:${target.port}`;
  const reader = new HandshakeReader(socket, signal);
  socket.write(encode.SSL_REQUEST);
  const answer = (await reader.bytes(1)).toString('latin1');
  // More than the one byte before TLS began can only come from somebody in between (CVE-2021-23222).
  const stuffed = reader.buffered > 0;
  reader.release();
  if (stuffed) throw new BackendTlsError(`server ${where} sent unencrypted data after its answer to SSLRequest`);
  if (answer === 'N' && tls.mode === 'prefer') return socket;
  if (answer !== 'S') {
    throw new BackendTlsError(`server ${where} does not offer TLS, but serverTls.mode is ${tls.mode}`);
  }
  const secure = connectTls({
    socket,
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    host: target.host,
    ...(tls.secureContext === undefined ? {} : { secureContext: tls.secureContext }),
    rejectUnauthorized: tls.mode === 'verify-full' || tls.mode === 'verify-ca',
    ...(tls.mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    ALPNProtocols: ['postgresql'],
  });
  ignoreErrors(secure);
  const failed = (error: unknown) => new BackendTlsError(`TLS with server ${where} failed: ${reasonOf(error)}`, error);
  await settled(secure, 'secureConnect', signal, failed);
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

export function unreachable(where: string, why: string, cause?: unknown): LeaseholdError {
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
