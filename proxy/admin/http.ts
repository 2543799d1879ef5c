import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ConfigError, LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { ActionRefused } from './action-refused.ts';
import type { Drills } from '../drill/runner.ts';
import type { ClusterActions } from './actions.ts';
import { refuseChange } from './guard.ts';
import { type DrillAnswer, getDrills, postDrill } from './http-drills.ts';
import type { MetricsRegistry } from './metrics.ts';
import { PAGE, PAGE_POLICY } from './page.ts';
import { poolReports } from './pool-reports.ts';
import { buildStatus, notReadyReason } from './status.ts';
import type { AdminProviders, ProxyControl } from './types.ts';
import { VERSION } from './version.ts';

export interface HttpOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** A successor may listen there too. */
  readonly reusePort?: boolean;
  readonly providers: AdminProviders;
  readonly metrics: MetricsRegistry;
  readonly actions: ClusterActions;
  readonly drills: Drills;
  readonly control: Pick<ProxyControl, 'reload' | 'stop' | 'stepAside'>;
  /** `cluster.apiToken`. */
  readonly apiToken: string | null;
  /** Further names by which this API is reached (the advertised host). */
  readonly hostNames?: readonly string[];
  readonly logger: Logger;
}

export interface HttpApi {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Answers what is under way, and nothing new. */
  stopListening(): void;
  close(): Promise<void>;
}

const MAX_BODY = 16_384;

/**
 * The proxy's HTTP API and page. Throws LeaseholdError `PORT_IN_USE` or `LISTEN` naming the address and the setting.
 * GET / /live /ready (also /healthz /readyz) /metrics /status /settings /history /shadow; POST /switchover {"to"?} /failover
 * {"allowDataLoss"?, "node"?, "by"?} /pause {"reason"?, "by"?} /resume
 * /settings {"syncAcks"?, …, "by"?} of the cluster, /reload /drain /step-aside {"seconds"} of this process; drills: http-drills.ts. What is
 * not a page or metrics is JSON; an error is `{"error": "…"}`.
 */
export async function startHttp(options: HttpOptions): Promise<HttpApi> {
  const server = createServer((request, response) => void answer(request, response, options));
  // Bounds against clients that hold connections without asking anything.
  server.maxConnections = 500;
  server.requestTimeout = 15_000;
  server.headersTimeout = 10_000;
  server.keepAliveTimeout = 5_000;
  await listen(server, options);
  const { port } = server.address() as { port: number };
  const shown = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    host: options.host,
    port,
    url: `http://${shown}:${port}`,
    stopListening: () => {
      server.close();
      server.closeIdleConnections();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, { host, port, reusePort = false }: HttpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${host}:${port}`;
      if (error.code === 'EADDRINUSE') {
        const message = `HTTP port ${where} is in use: free it, or choose another with proxy.http.port (--http-port)`;
        reject(new LeaseholdError('PORT_IN_USE', message, error));
      } else {
        reject(new LeaseholdError('LISTEN', `cannot listen on ${where} (setting proxy.http): ${error.message}`, error));
      }
    });
    server.listen({ port, host, reusePort }, () => resolve());
  });
}

async function answer(request: IncomingMessage, response: ServerResponse, options: HttpOptions): Promise<void> {
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  const path = (request.url ?? '/').split('?')[0] as string;
  try {
    if (request.method === 'GET' || request.method === 'HEAD') await get(path, response, options);
    else if (request.method === 'POST') await post(path, request, response, options);
    else refuse(response, 405, `method ${request.method} is not known here`);
  } catch (error) {
    if (error instanceof ActionRefused) refuse(response, error.status, error.message);
    else if (error instanceof BadRequest) refuse(response, 400, error.message);
    else if (error instanceof ConfigError) {
      const message = `the configuration has faults, the one in force stays:\n${error.message}`;
      json(response, 422, { error: message, faults: error.faults });
    } else {
      options.logger.error({ event: 'http.failed', path, err: error }, 'an HTTP request failed');
      refuse(response, 500, 'internal error; see the log of this proxy');
    }
  }
}

async function get(path: string, response: ServerResponse, options: HttpOptions): Promise<void> {
  switch (path) {
    case '/':
      response.setHeader('Content-Security-Policy', PAGE_POLICY);
      send(response, 200, 'text/html; charset=utf-8', PAGE);
      return;
    case '/live':
    case '/healthz':
      json(response, 200, { status: 'alive', version: VERSION });
      return;
    case '/ready':
    case '/readyz': {
      const reason = notReadyReason(options.providers.status());
      json(
        response,
        reason === null ? 200 : 503,
        reason === null ? { status: 'ready' } : { status: 'not ready', reason },
      );
      return;
    }
    case '/metrics':
      send(response, 200, options.metrics.contentType, await options.metrics.render(options.providers));
      return;
    case '/status':
      json(response, 200, { ...buildStatus(options.providers.status()), pools: poolReports(options.providers) });
      return;
    case '/shadow':
      json(response, 200, options.providers.shadow());
      return;
    case '/settings':
      json(response, 200, buildStatus(options.providers.status()).settings ?? { version: 0, settings: {} });
      return;
    case '/history':
      json(response, 200, await options.actions.history());
      return;
    default: {
      const drill = path.startsWith('/drills') ? await getDrills(options.drills, path) : null;
      if (drill !== null) answerDrill(response, drill);
      else if (POSTS.has(path) || path.startsWith('/drill/')) refuse(response, 405, `${path} wants a POST`);
      else refuse(response, 404, `there is no ${path} here`);
    }
  }
}

function answerDrill(response: ServerResponse, { status, body }: DrillAnswer): void {
  if (typeof body === 'object') return json(response, status, body);
  response.setHeader('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'");
  send(response, status, 'text/html; charset=utf-8', body);
}

type Action = (options: HttpOptions, body: Readonly<Record<string, unknown>>) => Promise<object> | object;

const POSTS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['/switchover', ({ actions }, body) => actions.switchover(nodeField(body, 'to'))],
  ['/failover', ({ actions }, body) => failover(actions, body)],
  ['/pause', ({ actions }, body) => actions.pause(byWhom(body), textField(body, 'reason'))],
  ['/resume', ({ actions }) => actions.resume()],
  ['/settings', ({ actions }, { by, ...changes }) => actions.settings(changes, byWhom({ by }))],
  ['/reload', ({ control }) => control.reload()],
  [
    '/drain',
    ({ control, providers }) => {
      control.stop('transactions');
      return { draining: true, clients: providers.status().clients };
    },
  ],
  [
    '/step-aside',
    ({ control }, body) => {
      const { seconds } = body;
      if (typeof seconds !== 'number') throw new BadRequest('seconds must be a number; 0 ends it');
      control.stepAside(seconds);
      return { aside: seconds > 0, seconds };
    },
  ],
]);

async function post(
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpOptions,
): Promise<void> {
  const action = POSTS.get(path);
  if (action === undefined && !path.startsWith('/drill/')) {
    refuse(response, 404, `there is no POST ${path} here`);
    return;
  }
  const { headers, socket } = request;
  const guard = { apiToken: options.apiToken, hostNames: options.hostNames ?? [] };
  const refusal = refuseChange({ headers, remoteAddress: socket.remoteAddress }, guard);
  if (refusal !== null) {
    if (refusal.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
    refuse(response, refusal.status, refusal.message);
    return;
  }
  const body = await readBody(request);
  // A connection string holds a password.
  const shown = 'dsn' in body ? { ...body, dsn: '(secret)' } : body;
  options.logger.info(
    { event: 'operator.request', path, from: socket.remoteAddress, body: shown },
    'an operator asked',
  );
  if (action !== undefined) return json(response, 202, await action(options, body));
  const drill = await postDrill(options.drills, path, body);
  if (drill !== null) answerDrill(response, drill);
  else refuse(response, 404, `there is no POST ${path} here`);
}

class BadRequest extends Error {}

/** An absent body is an empty object. */
async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY) throw new BadRequest(`the body is longer than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  if (length === 0) return {};
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // said below
  }
  throw new BadRequest('the body is not a JSON object');
}

/** With `allowDataLoss` the node must be named, and nobody else is taken for it. */
function failover(actions: ClusterActions, body: Readonly<Record<string, unknown>>): Promise<object> {
  const node = nodeField(body, 'node');
  const forced = body['allowDataLoss'] ?? false;
  if (typeof forced !== 'boolean') throw new BadRequest('allowDataLoss must be true or false');
  if (!forced && node !== null) throw new BadRequest('node goes with allowDataLoss; a switchover has "to"');
  if (!forced) return actions.failover();
  if (node === null) throw new BadRequest('allowDataLoss needs the name of the node that shall lead: node');
  return actions.forceFailover(node, byWhom(body));
}

function byWhom(body: Readonly<Record<string, unknown>>): string {
  return textField(body, 'by') ?? 'an operator';
}

function textField(body: Readonly<Record<string, unknown>>, field: string): string | null {
  const value = body[field] ?? null;
  if (value === null || value === '') return null;
  if (typeof value !== 'string') throw new BadRequest(`${field} must be text`);
  return value;
}

function nodeField(body: Readonly<Record<string, unknown>>, field: string): string | null {
  const value = body[field] ?? null;
  if (value === null || typeof value === 'string') return value;
  throw new BadRequest(`${field} must be the name of a node`);
}

function refuse(response: ServerResponse, status: number, error: string): void {
  if (response.headersSent) response.destroy();
  else json(response, status, { error });
}

function json(response: ServerResponse, status: number, body: object): void {
  send(response, status, 'application/json; charset=utf-8', `${JSON.stringify(body)}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}
