import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { ClientError } from '../../common/errors.ts';
import * as decode from '../wire/decode.ts';
import * as encodeAuth from '../wire/encode-auth.ts';
import type { Connection } from './connection.ts';
import { ConnectionClosed } from './handshake.ts';
import { createScramServer, keysOfPassword, MECHANISM, MECHANISM_PLUS, mockVerifier, ScramError } from './scram.ts';
import type { Credentials, Md5Hash, ScramVerifier } from './types.ts';

/** What pg_authid has of a user: a verifier, an md5 hash, or (null) nothing that a password could satisfy. */
export type KnownPassword = ScramVerifier | Md5Hash | null;

/**
 * SCRAM-SHA-256, and -PLUS over TLS. An unknown user goes through the same exchange, so that it cannot be told from a wrong
 * password. Throws ClientError 28P01, 28000, 08P01.
 */
export async function scramLogin(
  connection: Connection,
  user: string,
  known: KnownPassword,
  mockSecret: Buffer,
): Promise<Credentials> {
  const { socket } = connection;
  const mine = known !== null && 'storedKey' in known ? known : null;
  const offered = connection.tls?.binding ?? null;
  const mechanisms = offered === null ? [MECHANISM] : [MECHANISM_PLUS, MECHANISM];
  socket.write(encodeAuth.authenticationSasl(mechanisms));
  const initial = decode.decodeSaslInitialResponse(...(await readResponse(connection)));
  if (!mechanisms.includes(initial.mechanism))
    throw decode.protocolViolation('client selected an invalid SASL authentication mechanism');
  const binding = { data: offered, selected: initial.mechanism === MECHANISM_PLUS };
  const nonce = randomBytes(18).toString('base64');
  const scram = createScramServer(mine ?? mockVerifier(user, mockSecret), nonce, binding);
  try {
    let clientFirst = initial.data;
    if (clientFirst === null) {
      socket.write(encodeAuth.authenticationSaslContinue(''));
      clientFirst = text(await readResponse(connection));
    }
    socket.write(encodeAuth.authenticationSaslContinue(scram.first(clientFirst)));
    const result = scram.final(text(await readResponse(connection)));
    if (result === null || mine === null) throw wrongPassword(user);
    socket.write(encodeAuth.authenticationSaslFinal(result.serverFinal));
    return { kind: 'scram-keys', clientKey: result.clientKey, verifier: mine };
  } catch (error) {
    if (!(error instanceof ScramError)) throw error;
    throw new ClientError({ sqlState: error.sqlState, severity: 'FATAL', message: error.message });
  }
}

/** As PostgreSQL's method md5: for roles whose password is kept as an md5 hash. Throws ClientError 28P01. */
export async function md5Login(connection: Connection, user: string, known: Md5Hash): Promise<Credentials> {
  const salt = randomBytes(4);
  connection.socket.write(encodeAuth.authenticationMd5(salt));
  const response = zeroEnded(await readResponse(connection));
  if (!sameText(response, md5Response(known.hash, salt))) throw wrongPassword(user);
  return known;
}

/** The password in clear text: only where a rule asks for it. Throws ClientError 28P01. */
export async function passwordLogin(
  connection: Connection,
  user: string,
  known: KnownPassword,
  mockSecret: Buffer,
): Promise<Credentials> {
  connection.socket.write(encodeAuth.AUTHENTICATION_CLEARTEXT);
  const password = zeroEnded(await readResponse(connection));
  if (known !== null && !('storedKey' in known)) {
    if (!sameText(md5Hash(password, user), known.hash)) throw wrongPassword(user);
    return known;
  }
  const verifier = known ?? mockVerifier(user, mockSecret);
  const { clientKey, storedKey } = await keysOfPassword(password, verifier.salt, verifier.iterations);
  if (!timingSafeEqual(storedKey, verifier.storedKey) || known === null) throw wrongPassword(user);
  return { kind: 'scram-keys', clientKey, verifier };
}

/** `md5` and 32 digits, as in pg_authid. */
export function md5Hash(password: string, user: string): string {
  return `md5${createHash('md5').update(password).update(user).digest('hex')}`;
}

/** What answers a request for MD5 with this salt. */
export function md5Response(hash: string, salt: Buffer): string {
  return `md5${createHash('md5').update(hash.slice(3)).update(salt).digest('hex')}`;
}

export function wrongPassword(user: string): ClientError {
  return new ClientError({
    sqlState: '28P01',
    severity: 'FATAL',
    message: `password authentication failed for user "${user}"`,
  });
}

type Bounds = readonly [Buffer, number, number];

async function readResponse({ reader }: Connection): Promise<Bounds> {
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

function zeroEnded([buffer, start, end]: Bounds): string {
  if (buffer.indexOf(0, start) !== end - 1) throw decode.protocolViolation('invalid password packet size');
  if (end - start === 1) {
    throw new ClientError({ sqlState: '28P01', severity: 'FATAL', message: 'empty password returned by client' });
  }
  return buffer.toString('utf8', start, end - 1);
}

function sameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
