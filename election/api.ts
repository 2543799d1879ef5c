import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LeaseholdError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { oneLine } from '../common/one-line.ts';
import { DrillRefusedByNode } from './agent/drill-faults.ts';

/** What the agent lets its HTTP API see and do. */
export interface NodeControl {
  /** The member record with details, as plain JSON (bigints as text are the caller's business). */
  status(): unknown;
  /** A drill: SIGKILL to the postmaster. */
  crash(): Promise<void>;
  /** A drill that lasts, or its end. Throws DrillRefusedByNode, as `crash` does. */
  drill(fault: DrillFault, parameters: Body): Promise<void>;
  /** Gives leadership up, if this node holds it. */
  failover(): Promise<void>;
  /** `by` consents to a loss: this node shall lead. Resolves when it has been asked to, with what is known of the loss. */
  force(by: string): Promise<{ readonly term: number; readonly loss: string }>;
}

/** Not now: the state of the node or the cluster is against it. HTTP 409. */
export class RequestRefused extends LeaseholdError {
  constructor(why: string) {
    super('REQUEST_REFUSED', why);
  }
}

/** `lift` ends what lasts. */
export type DrillFault = 'partition' | 'freeze' | 'lag' | 'lift';

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
      if (error instanceof DrillRefusedByNode) {
        return send(response, error.status, { error: 'refused', message: error.message });
      }
      if (error instanceof RequestRefused) return send(response, 409, { error: 'refused', message: error.message });
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
  const { node } = options;
  const actions: Record<string, (body: Body) => Promise<object | void>> = {
    '/crash': () => node.crash(),
    '/failover': () => node.failover(),
    '/drill/partition': (body) => node.drill('partition', body),
    '/drill/freeze': (body) => node.drill('freeze', body),
    '/drill/lag': (body) => node.drill('lag', body),
    '/drill/lift': (body) => node.drill('lift', body),
    '/failover/forced': ({ by }) => node.force(typeof by === 'string' && by !== '' ? oneLine(by) : 'somebody'),
  };
  if (path === '/status' || path === '/healthz') {
    if (request.method !== 'GET') return refuseMethod(response, 'GET');
    return send(response, 200, path === '/status' ? options.node.status() : { ok: true });
  }
  const action = actions[path ?? ''];
  if (action === undefined) {
    const paths = ['/status', '/healthz', ...Object.keys(actions)];
    return send(response, 404, { error: 'not-found', message: `no ${path}: ${paths.join(', ')}` });
  }
  if (request.method !== 'POST') return refuseMethod(response, 'POST');
  if (!isAuthorised(request.headers.authorization, options.token)) {
    response.setHeader('WWW-Authenticate', 'Bearer');
    return send(response, 401, {
      error: 'unauthorised',
      message: 'Authorization: Bearer <cluster.apiToken> is needed',
    });
  }
  const body = await readBody(request);
  if (body === null) return send(response, 413, { error: 'too-large', message: `at most ${MAX_BODY_BYTES} bytes` });
  options.logger.warn({ event: 'api.action', path, from: request.socket.remoteAddress }, `asked to ${path?.slice(1)}`);
  return send(response, 200, { ok: true, ...(await action(body)) });
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

type Body = Readonly<Record<string, unknown>>;

/** The fields of a JSON object; none where it is something else. Null: too long. */
async function readBody(request: IncomingMessage): Promise<Body | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Body) : {};
  } catch {
    return {};
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}
