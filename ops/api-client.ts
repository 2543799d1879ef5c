import { z } from 'zod';
import { LeaseholdError } from '../common/errors.ts';

/** Numbers that may be too large for a double (terms, bytes) arrive as a number or as decimal text. */
const count = z.union([z.number(), z.string()]).transform(Number);

const nodeStatus = z.looseObject({
  node: z.string(),
  address: z.string(),
  role: z.string(),
  state: z.string(),
  timeline: count.nullable(),
  flushedLsn: z.string().nullable(),
  replayedLsn: z.string().nullable(),
  lagBytes: count.nullable(),
  freshnessMs: z.number().nullable(),
  postgresPid: z.number().nullable(),
  agentPid: z.number().nullable(),
  /** Whether the proxy that was asked reads from it. */
  usable: z.boolean().default(false),
  note: z.string().nullable().default(null),
  /** What it goes by of the settings that the whole cluster should agree in. */
  rules: z
    .record(z.string(), z.union([z.string(), z.number()]))
    .nullable()
    .default(null),
});
export type NodeStatus = z.output<typeof nodeStatus>;

const clusterStatus = z.looseObject({
  cluster: z.string(),
  term: count.nullable(),
  leader: z.looseObject({ node: z.string(), address: z.string() }).nullable(),
  /** Whether writes go through the proxy that was asked. */
  writable: z.boolean().default(true),
  route: z.looseObject({ term: count, hold: z.boolean(), seq: z.number() }).nullable(),
  /** Automatic failover is paused. */
  pause: z.looseObject({ by: z.string(), reason: z.string().nullable(), at: z.string() }).nullable().default(null),
  settings: z
    .looseObject({ version: z.number(), by: z.string(), at: z.string(), settings: z.record(z.string(), z.unknown()) })
    .nullable()
    .default(null),
  nodes: z.array(nodeStatus),
  /** The proxy that was asked. */
  self: z
    .looseObject({
      id: z.string(),
      clients: z.number(),
      maxClients: z.number(),
      waiting: z.number(),
      paused: z.boolean(),
      draining: z.boolean(),
    })
    .optional(),
  proxies: z.array(
    z.looseObject({
      id: z.string(),
      address: z.string(),
      heldWrites: z.number(),
      inFlight: z.number(),
      draining: z.boolean().default(false),
    }),
  ),
});
export type ClusterStatus = z.output<typeof clusterStatus>;

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface ApiClientOptions {
  readonly url: string;
  readonly token: string | null;
  readonly timeoutMs?: number;
}

/** The HTTP API of a proxy. Throws `API` with what happened and what to do. */
export class ApiClient {
  readonly url: string;
  readonly #token: string | null;
  readonly #timeoutMs: number;

  constructor(options: ApiClientOptions) {
    this.url = options.url.replace(/\/+$/, '');
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /** `/status` as it came, for programs. */
  async rawStatus(signal?: AbortSignal): Promise<unknown> {
    return (await this.#ask('GET', '/status', undefined, signal)).body;
  }

  async status(signal?: AbortSignal): Promise<ClusterStatus> {
    const parsed = clusterStatus.safeParse(await this.rawStatus(signal));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw new LeaseholdError(
      'API',
      `${this.url}/status is not Leasehold's (${issue?.path.join('.')}: ${issue?.message}): is another program there?`,
    );
  }

  async get(path: string, signal?: AbortSignal): Promise<unknown> {
    return (await this.#ask('GET', path, undefined, signal)).body;
  }

  async post(path: string, body: object, signal?: AbortSignal): Promise<unknown> {
    return (await this.#ask('POST', path, body, signal)).body;
  }

  async #ask(
    method: string,
    path: string,
    body: object | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ApiAnswer> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.url + path, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      text = await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error, timeout.aborted);
    }
    const answer = parseBody(text);
    if (response.ok) return { status: response.status, body: answer };
    throw refusal(response.status, `${method} ${this.url}${path}`, answer);
  }

  #unreachable(error: unknown, timedOut: boolean): LeaseholdError {
    const { cause: reason } = error as { cause?: { code?: string; message?: string } };
    const cause = reason?.code ?? reason?.message;
    const what = timedOut
      ? `did not answer within ${this.#timeoutMs / 1000} s`
      : `cannot be reached${cause ? ` (${cause})` : ''}`;
    return new LeaseholdError(
      'API_UNREACHABLE',
      `the proxy's HTTP API at ${this.url} ${what}. Does a proxy run there? Start a cluster with "leasehold up", or say which with --api URL or LEASEHOLD_API`,
      error,
    );
  }
}

function refusal(status: number, what: string, body: unknown): LeaseholdError {
  const said = messageOf(body) ?? `HTTP ${status}`;
  if (status === 401 || status === 403) {
    return new LeaseholdError(
      'API_DENIED',
      `${what} was refused: ${said}. Give the cluster's token in LEASEHOLD_CLUSTER_API_TOKEN (or with --config FILE)`,
    );
  }
  return new LeaseholdError(status === 409 ? 'API_CONFLICT' : 'API', `${what}: ${said}`);
}

function messageOf(body: unknown): string | null {
  if (typeof body === 'string' && body.length > 0 && body.length < 500) return body;
  if (typeof body !== 'object' || body === null) return null;
  for (const name of ['message', 'error', 'reason']) {
    const value = (body as Record<string, unknown>)[name];
    if (typeof value === 'string') return value;
    const nested = messageOf(value);
    if (nested !== null) return nested;
  }
  return null;
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text.trim();
  }
}
