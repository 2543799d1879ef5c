import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { saslprep } from '@mongodb-js/saslprep';
import { ownBytes } from '../../common/own-bytes.ts';
import type { ProofCredentials, ScramVerifier } from './types.ts';

/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides. No randomness: nonces are the caller's.
 * RFC 5802, RFC 7677; PostgreSQL's use of it: https://www.postgresql.org/docs/current/sasl-authentication.html
 */
export const MECHANISM = 'SCRAM-SHA-256';
/** With channel binding: the proof holds for this TLS connection only. */
export const MECHANISM_PLUS = 'SCRAM-SHA-256-PLUS';
const BINDING_TYPE = 'tls-server-end-point';

/** The peer's message is not SCRAM, or asks for what is not supported. The message is fit for a client to see. */
export class ScramError extends Error {
  readonly sqlState: '08P01' | '28000';

  constructor(message: string, sqlState: ScramError['sqlState'] = '08P01') {
    super(message);
    this.sqlState = sqlState;
  }
}

/** Of one exchange, on the server's side. `data` is null where channel binding was not offered. */
export interface ServerBinding {
  readonly data: Buffer | null;
  /** The client selected the mechanism with channel binding. */
  readonly selected: boolean;
}

const NO_BINDING: ServerBinding = { data: null, selected: false };

export interface ScramServer {
  /** client-first-message to server-first-message. Throws ScramError. */
  first(clientFirst: string): string;
  /** Null: the proof is wrong. The ClientKey is what logs the same user in elsewhere. Throws ScramError. */
  final(clientFinal: string): { readonly serverFinal: string; readonly clientKey: Buffer } | null;
}

/** `nonce`: at least 18 random bytes in base64. One exchange for each object. */
export function createScramServer(verifier: ScramVerifier, nonce: string, binding = NO_BINDING): ScramServer {
  let gs2 = '';
  let clientBare = '';
  let serverFirst = '';
  let wholeNonce = '';
  return {
    first(clientFirst) {
      const parsed = parseClientFirst(clientFirst, binding);
      gs2 = parsed.gs2;
      clientBare = parsed.bare;
      wholeNonce = parsed.nonce + nonce;
      serverFirst = `r=${wholeNonce},s=${verifier.salt.toString('base64')},i=${verifier.iterations}`;
      return serverFirst;
    },
    final(clientFinal) {
      const proofAt = clientFinal.lastIndexOf(',p=');
      const withoutProof = proofAt < 0 ? clientFinal : clientFinal.slice(0, proofAt);
      const attributes = parseAttributes(withoutProof);
      const proof = Buffer.from(proofAt < 0 ? '' : clientFinal.slice(proofAt + 3), 'base64');
      if (attributes[0]?.[0] !== 'c' || attributes[1]?.[0] !== 'r' || proof.length !== 32) throw malformed();
      if (attributes[0][1] !== channelAttribute(gs2, binding.selected ? binding.data : null)) {
        if (binding.selected) throw new ScramError('SCRAM channel binding check failed', '28000');
        throw new ScramError('unexpected SCRAM channel-binding attribute in client-final-message');
      }
      if (attributes[1][1] !== wholeNonce) throw new ScramError('invalid SCRAM response: nonce does not match');
      const authMessage = `${clientBare},${serverFirst},${withoutProof}`;
      const clientKey = xor(proof, hmac(verifier.storedKey, authMessage));
      if (!timingSafeEqual(sha256(clientKey), verifier.storedKey)) return null;
      return { serverFinal: `v=${hmac(verifier.serverKey, authMessage).toString('base64')}`, clientKey };
    },
  };
}

export interface ScramClient {
  first(): string;
  /**
   * server-first-message to client-final-message. Throws ScramError; `OutdatedKeysError` where the role's password
   * is no longer the one that the keys are of.
   */
  respond(serverFirst: string): Promise<string>;
  /** Whether the server proved that it knows the verifier. */
  verify(serverFinal: string): boolean;
}

/** The keys were recovered from a login with another password (or another salt) than the server has now. */
export class OutdatedKeysError extends ScramError {}

/**
 * `channel`: the data to bind to; or `not-offered`, over TLS, where the server did not offer channel binding: it finds out if
 * that is not what it said; or `none`.
 */
export function createScramClient(
  credentials: ProofCredentials,
  nonce: string,
  channel: Buffer | 'not-offered' | 'none' = 'none',
): ScramClient {
  const clientBare = `n=,r=${nonce}`;
  const gs2 = channel === 'none' ? 'n,,' : channel === 'not-offered' ? 'y,,' : `p=${BINDING_TYPE},,`;
  const bound = channelAttribute(gs2, typeof channel === 'string' ? null : channel);
  let expectedServerSignature: Buffer | null = null;
  return {
    first: () => gs2 + clientBare,
    async respond(serverFirst) {
      const { wholeNonce, salt, iterations } = parseServerFirst(serverFirst, nonce);
      const keys = await keysFor(credentials, salt, iterations);
      const withoutProof = `c=${bound},r=${wholeNonce}`;
      const authMessage = `${clientBare},${serverFirst},${withoutProof}`;
      expectedServerSignature = hmac(keys.serverKey, authMessage);
      const proof = xor(keys.clientKey, hmac(sha256(keys.clientKey), authMessage));
      return `${withoutProof},p=${proof.toString('base64')}`;
    },
    verify(serverFinal) {
      if (expectedServerSignature === null || !serverFinal.startsWith('v=')) return false;
      const signature = Buffer.from(serverFinal.slice(2).split(',')[0] as string, 'base64');
      return signature.length === 32 && timingSafeEqual(signature, expectedServerSignature);
    },
  };
}

/** Of `pg_authid.rolpassword`; null for what is not SCRAM-SHA-256 (md5, no password). */
export function parseVerifier(text: string | null): ScramVerifier | null {
  const match = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})$/.exec(
    text ?? '',
  );
  if (match === null) return null;
  const [, iterations, salt, storedKey, serverKey] = match as unknown as [string, string, string, string, string];
  return {
    iterations: Number(iterations),
    salt: ownBytes(Buffer.from(salt, 'base64')),
    storedKey: ownBytes(Buffer.from(storedKey, 'base64')),
    serverKey: ownBytes(Buffer.from(serverKey, 'base64')),
  };
}

/**
 * A verifier that no password satisfies, always the same for a user: without it, an attacker would learn from the
 * salt or from the speed of the refusal which users exist. As PostgreSQL's mock_scram_secret (auth-scram.c).
 */
export function mockVerifier(user: string, secret: Buffer): ScramVerifier {
  const derive = (what: string): Buffer => hmac(secret, `${what}:${user}`);
  return {
    iterations: 4096,
    salt: derive('salt').subarray(0, 16),
    storedKey: derive('stored'),
    serverKey: derive('server'),
  };
}

const pbkdf2Async = promisify(pbkdf2);

/** What a password comes to for a salt; also how a verifier is made of one. */
export async function keysOfPassword(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<{ readonly clientKey: Buffer; readonly storedKey: Buffer; readonly serverKey: Buffer }> {
  const salted = await pbkdf2Async(normalise(password), salt, iterations, 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmac(salted, 'Server Key') };
}

/** PostgreSQL takes a password that SASLprep refuses as it is (pg_saslprep in common/saslprep.c and its callers). */
function normalise(password: string): string {
  try {
    return saslprep(password) || password;
  } catch {
    return password;
  }
}

async function keysFor(
  credentials: ProofCredentials,
  salt: Buffer,
  iterations: number,
): Promise<{ readonly clientKey: Buffer; readonly serverKey: Buffer }> {
  if (credentials.kind === 'password') return keysOfPassword(credentials.password, salt, iterations);
  const { verifier, clientKey } = credentials;
  if (!verifier.salt.equals(salt) || verifier.iterations !== iterations) {
    throw new OutdatedKeysError('the password was changed since this session logged in');
  }
  return { clientKey, serverKey: verifier.serverKey };
}

/** What goes into the `c=` of client-final-message: the header of the first message and the channel's data. */
function channelAttribute(gs2: string, data: Buffer | null): string {
  return Buffer.concat([Buffer.from(gs2), data ?? Buffer.alloc(0)]).toString('base64');
}

function parseClientFirst(
  text: string,
  binding: ServerBinding,
): { readonly gs2: string; readonly bare: string; readonly nonce: string } {
  const match = /^(n|y|p=[^,]*),(a=[^,]*)?,(.*)$/s.exec(text);
  if (match === null) throw malformed();
  checkFlag(match[1] as string, binding);
  if (match[2] !== undefined) throw new ScramError('client uses authorization identity, but it is not supported');
  const bare = match[3] as string;
  if (bare.startsWith('m=')) throw new ScramError('client requires an unsupported SCRAM extension');
  const [user, nonce] = parseAttributes(bare);
  if (user?.[0] !== 'n' || nonce?.[0] !== 'r' || !/^[\x21-\x2b\x2d-\x7e]+$/.test(nonce[1])) throw malformed();
  return { gs2: `${match[1]},,`, bare, nonce: nonce[1] };
}

function checkFlag(flag: string, binding: ServerBinding): void {
  if (binding.selected) {
    if (!flag.startsWith('p=')) throw malformed();
    if (flag !== `p=${BINDING_TYPE}`) throw new ScramError('unsupported SCRAM channel-binding type');
  } else if (flag.startsWith('p=')) {
    throw new ScramError('client requires SCRAM channel binding, but it is not supported');
  } else if (flag === 'y' && binding.data !== null) {
    // The client has channel binding and was made to believe that we have not: somebody is in between.
    throw new ScramError('SCRAM channel binding negotiation error', '28000');
  }
}

/** A server that asks for a great number of iterations could keep this process busy: bounded. */
const MAX_ITERATIONS = 10_000_000;

function parseServerFirst(
  text: string,
  nonce: string,
): { readonly wholeNonce: string; readonly salt: Buffer; readonly iterations: number } {
  const [r, s, i] = parseAttributes(text);
  if (r?.[0] !== 'r' || s?.[0] !== 's' || i?.[0] !== 'i' || !/^\d{1,9}$/.test(i[1])) throw malformed();
  const iterations = Number(i[1]);
  if (iterations < 1 || iterations > MAX_ITERATIONS) throw new ScramError('unreasonable SCRAM iteration count');
  if (!r[1].startsWith(nonce) || r[1].length === nonce.length) throw new ScramError('invalid SCRAM nonce');
  return { wholeNonce: r[1], salt: Buffer.from(s[1], 'base64'), iterations };
}

function parseAttributes(text: string): (readonly [string, string])[] {
  return text.split(',').map((attribute) => {
    if (attribute[1] !== '=') throw malformed();
    return [attribute[0] as string, attribute.slice(2)];
  });
}

function malformed(): ScramError {
  return new ScramError('malformed SCRAM message');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

function xor(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.alloc(a.length); // a client's key is kept as long as its session: it must have memory of its own
  for (let i = 0; i < a.length; i++) out[i] = (a[i] as number) ^ (b[i] as number);
  return out;
}
