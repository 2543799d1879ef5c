import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LeaseholdError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';

/** What the agent lets its HTTP API see and do. */
export interface NodeControl {
  /** The member record with details, as plain JSON (bigints as text are the caller's business). */
  status(): unknown;
  /** A drill: SIGKILL to the postmaster. */
  crash(): Promise<void>;
  /** Gives leadership up, if this node holds it. */
  failover(): Promise<void>;
}

export interface NodeApiOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Undefined: nobody may change anything. */
  readonly token: string | undefined;
  readonly node: NodeControl;
  readonly logger: Logger;
}

export interface NodeApi {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 4096;
const REQUEST_MS = 5000;

/** Resolves when it listens. Throws where the address cannot be had, and says which. */
export async function startNodeApi(options: NodeApiOptions): Promise<NodeApi> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    respond(options, request, response).catch((error: unknown) => {
      options.logger.error({ event: 'api.failed', err: error, url: request.url }, 'a request to the node failed');
      send(response, 500, { error: 'internal', message: error instanceof Error ? error.message : 'unknown' });
    });
  });
  server.maxConnections = 100;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'the port is in use' : error.message;
      reject(new LeaseholdError('LISTEN', `cannot listen on ${options.host}:${options.port}: ${why}`, error));
    });
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    host: options.host,
    port,
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function respond(options: NodeApiOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '/').split('?')[0];
  const actions: Record<string, () => Promise<void>> = {
    '/crash': () => options.node.crash(),
    '/failover': () => options.node.failover(),
  };
  if (path === '/status' || path === '/healthz') {
    if (request.method !== 'GET') return refuseMethod(response, 'GET');
    return send(response, 200, path === '/status' ? options.node.status() : { ok: true });
  }
  const action = actions[path ?? ''];
  if (action === undefined) {
    return send(response, 404, { error: 'not-found', message: `no ${path}: /status, /healthz, /crash, /failover` });
  }
  if (request.method !== 'POST') return refuseMethod(response, 'POST');
  if (!isAuthorised(request.headers.authorization, options.token)) {
    response.setHeader('WWW-Authenticate', 'Bearer');
    return send(response, 401, {
      error: 'unauthorised',
      message: 'Authorization: Bearer <cluster.apiToken> is needed',
    });
  }
  if (!(await drainBody(request))) {
    return send(response, 413, { error: 'too-large', message: `at most ${MAX_BODY_BYTES} bytes` });
  }
  options.logger.warn({ event: 'api.action', path, from: request.socket.remoteAddress }, `asked to ${path?.slice(1)}`);
  await action();
  return send(response, 200, { ok: true });
}

function refuseMethod(response: ServerResponse, allowed: string): void {
  response.setHeader('Allow', allowed);
  send(response, 405, { error: 'method-not-allowed', message: `only ${allowed}` });
}

/** Compares hashes, so that neither the time nor the length tells anything of the token. */
export function isAuthorised(header: string | undefined, token: string | undefined): boolean {
  if (token === undefined || header === undefined) return false;
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(header), hash(`Bearer ${token}`));
}

/** No action has parameters: the body is read away, up to a bound. */
async function drainBody(request: IncomingMessage): Promise<boolean> {
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_BODY_BYTES) return false;
  }
  return true;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}
