import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';

export interface GuardOptions {
  /** `cluster.apiToken`; null: only this machine may change anything. */
  readonly apiToken: string | null;
  /** Host names besides addresses and `localhost` by which this API is reached. */
  readonly hostNames: readonly string[];
}

export interface GuardedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly remoteAddress: string | undefined;
}

export interface Refusal {
  readonly status: 401 | 403;
  readonly message: string;
}

/**
 * Whether a request that changes something is let through (null) or why not. Besides the token there are web
 * pages to think of: a page in an operator's browser can send a POST to 127.0.0.1, and with a name of its own that
 * resolves to 127.0.0.1 it is even "same origin". So an Origin must be this API's own, and the name must be ours.
 */
export function refuseChange(request: GuardedRequest, options: GuardOptions): Refusal | null {
  const host = hostNameOf(request.headers.host);
  if (host === null || !(isIP(host) !== 0 || host === 'localhost' || options.hostNames.includes(host))) {
    return { status: 403, message: 'the Host header names another host than this proxy' };
  }
  const { origin } = request.headers;
  if (
    origin !== undefined &&
    origin !== `http://${request.headers.host}` &&
    origin !== `https://${request.headers.host}`
  ) {
    return { status: 403, message: 'requests from web pages of other origins are refused' };
  }
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    return { status: 403, message: 'requests from web pages of other origins are refused' };
  }
  if (options.apiToken !== null) {
    if (hasToken(request.headers.authorization, options.apiToken)) return null;
    return { status: 401, message: 'needs `Authorization: Bearer` with the token of the setting cluster.apiToken' };
  }
  if (isLoopback(request.remoteAddress)) return null;
  return {
    status: 403,
    message: 'without a token (setting cluster.apiToken) only requests from this machine are accepted',
  };
}

function hasToken(header: string | undefined, token: string): boolean {
  const match = /^Bearer +(\S+)$/i.exec(header ?? '');
  // Digests have one length, which timingSafeEqual needs and which tells nothing.
  return match !== null && timingSafeEqual(digest(match[1] as string), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function hostNameOf(header: string | undefined): string | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/@]+))(?::\d+)?$/.exec(header ?? '');
  return match === null ? null : (match[1] ?? (match[2] as string).toLowerCase());
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && (address === '::1' || /^(::ffff:)?127\./.test(address));
}
