import { message, putString, strings } from './build.ts';

/** The messages of authentication, of both sides; allocated as in `encode.ts`. */

// ---- to clients

export const AUTHENTICATION_OK = authentication(0, 0);
/** The method password. */
export const AUTHENTICATION_CLEARTEXT = authentication(3, 0);

export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  let length = 1;
  for (const mechanism of mechanisms) length += Buffer.byteLength(mechanism) + 1;
  const out = authentication(10, length);
  let at = 9;
  for (const mechanism of mechanisms) at = putString(out, at, mechanism);
  out[at] = 0;
  return out;
}

/** `salt` is 4 bytes. */
export function authenticationMd5(salt: Buffer): Buffer {
  const out = authentication(5, 4);
  salt.copy(out, 9);
  return out;
}

export function authenticationSaslContinue(data: string): Buffer {
  return authenticationText(11, data);
}

export function authenticationSaslFinal(data: string): Buffer {
  return authenticationText(12, data);
}

// ---- to servers

export function saslInitialResponse(mechanism: string, data: string): Buffer {
  const size = Buffer.byteLength(data);
  const out = message('p', Buffer.byteLength(mechanism) + 1 + 4 + size);
  const at = out.writeInt32BE(size, putString(out, 5, mechanism));
  out.write(data, at);
  return out;
}

/** The answer to a request for a password or for MD5. */
export function passwordMessage(text: string): Buffer {
  return strings('p', text);
}

export function saslResponse(data: string): Buffer {
  const out = message('p', Buffer.byteLength(data));
  out.write(data, 5);
  return out;
}

// ---- pieces

function authentication(code: number, extra: number): Buffer {
  const out = message('R', 4 + extra);
  out.writeInt32BE(code, 5);
  return out;
}

function authenticationText(code: number, text: string): Buffer {
  const out = authentication(code, Buffer.byteLength(text));
  out.write(text, 9);
  return out;
}
