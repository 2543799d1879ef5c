import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePorts } from './ports.ts';

export interface NodeStatus {
  readonly node: string;
  readonly address: string;
  readonly role: string;
  readonly state: string;
  readonly timeline: number;
  readonly flushedLsn: string;
  readonly replayedLsn: string;
  readonly lagBytes: number | null;
  readonly freshnessMs: number | null;
  readonly postgresPid: number | null;
  readonly agentPid: number | null;
}

export interface Status {
  readonly cluster: string;
  readonly term: number;
  /** Whether the proxy that answers lets writes pass now. */
  readonly writable: boolean;
  readonly leader: { readonly node: string; readonly address: string } | null;
  readonly route: { readonly term: number; readonly hold: boolean; readonly seq: number } | null;
  readonly nodes: readonly NodeStatus[];
  readonly proxies: readonly { readonly id: string; readonly heldWrites: number; readonly inFlight: number }[];
}

/** A whole cluster as `leasehold up` makes it, in a folder and on ports of its own. */
export interface LocalCluster {
  readonly port: number;
  readonly httpPort: number;
  readonly dir: string;
  readonly dsn: string;
  readonly up: ChildProcess;
  readonly readyMs: number;
  /** Everything that `up` printed so far. */
  output(): string;
  status(): Promise<Status>;
  leader(): Promise<NodeStatus>;
  /** One connection through the proxy; errors of a lost connection show in the query that was under way. */
  connect(options?: pg.ClientConfig): Promise<pg.Client>;
  /** One query on a connection of its own. */
  query(sql: string, options?: pg.ClientConfig): Promise<Record<string, unknown>[]>;
  /** A command of the command line, asked of this cluster's proxy. */
  cli(...args: string[]): Promise<{ readonly status: number | null; readonly output: string }>;
  until(what: string, condition: () => Promise<boolean> | boolean, boundMs?: number): Promise<void>;
  /** A leader with an open route, and all other nodes following it on its timeline. */
  untilInStep(boundMs?: number): Promise<void>;
  stop(): Promise<void>;
}

/** What `up` starts by default. */
const NODES = 3;
const ROOT = resolve(import.meta.dirname, '../..');

/** `settings`: LEASEHOLD_… variables, which the agents and the proxy of the cluster inherit; `flags`: further ones for `up`. */
export async function startLocalCluster(
  settings: NodeJS.ProcessEnv = {},
  flags: readonly string[] = [],
): Promise<LocalCluster> {
  const [port, httpPort] = (await freePorts(2)) as [number, number];
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-up-'));
  chmodSync(dir, 0o755); // PostgreSQL's own user must pass through
  const args = ['up', '--dir', join(dir, 'cluster'), '--proxy-port', String(port), '--http-port', String(httpPort)];
  args.push(...flags);
  const startedMs = performance.now();
  const up = spawn(process.execPath, [join(ROOT, 'ops/cli.ts'), ...args], {
    env: { ...process.env, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: dir,
  });
  const chunks: string[] = [];
  up.stdout.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  up.stderr.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  const output = (): string => chunks.join('');
  await waitForReady(up, output);
  const cluster = new Cluster({ port, httpPort, dir, up, output, readyMs: performance.now() - startedMs });
  await cluster.untilInStep();
  return cluster;
}

async function waitForReady(up: ChildProcess, output: () => string): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!/^ready postgres:/m.test(output())) {
    if (up.exitCode !== null) assert.fail(`up ended with ${up.exitCode} before it was ready:\n${output()}`);
    if (performance.now() > deadline) {
      up.kill('SIGTERM');
      assert.fail(`up was not ready within 120 s:\n${output()}`);
    }
    await sleep(50);
  }
}

type ClusterFields = Pick<LocalCluster, 'port' | 'httpPort' | 'dir' | 'up' | 'output' | 'readyMs'>;

class Cluster implements LocalCluster {
  readonly port: number;
  readonly httpPort: number;
  readonly dir: string;
  readonly dsn: string;
  readonly up: ChildProcess;
  readonly output: () => string;
  readonly readyMs: number;

  constructor(fields: ClusterFields) {
    this.port = fields.port;
    this.httpPort = fields.httpPort;
    this.dir = fields.dir;
    this.up = fields.up;
    this.output = fields.output;
    this.readyMs = fields.readyMs;
    this.dsn = `postgres://app:app@127.0.0.1:${fields.port}/app`;
  }

  async status(): Promise<Status> {
    const response = await fetch(`http://127.0.0.1:${this.httpPort}/status`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as Status;
  }

  async leader(): Promise<NodeStatus> {
    const now = await this.status();
    const leader = now.nodes.find((node) => node.node === now.leader?.node);
    assert.ok(leader !== undefined, `there is no leader: ${JSON.stringify(now)}`);
    return leader;
  }

  async connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.dsn, connectionTimeoutMillis: 30_000, ...options });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  async query(sql: string, options: pg.ClientConfig = {}): Promise<Record<string, unknown>[]> {
    const client = await this.connect(options);
    try {
      const result = (await client.query(sql)) as pg.QueryResult<Record<string, unknown>>;
      return result.rows;
    } finally {
      await client.end();
    }
  }

  cli(...args: string[]): Promise<{ status: number | null; output: string }> {
    const api = ['--api', `http://127.0.0.1:${this.httpPort}`];
    const child = spawn(process.execPath, [join(ROOT, 'ops/cli.ts'), ...args, ...api], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    return new Promise((done) => child.once('close', (status) => done({ status, output: output.join('') })));
  }

  async until(what: string, condition: () => Promise<boolean> | boolean, boundMs = 60_000): Promise<void> {
    const deadline = performance.now() + boundMs;
    let last = 'it was never true';
    while (performance.now() < deadline) {
      try {
        if (await condition()) return;
      } catch (error) {
        last = String(error);
      }
      await sleep(20);
    }
    const seen = await this.status().then((now) => JSON.stringify(now, null, 1), String);
    assert.fail(`not within ${boundMs} ms: ${what} (${last})\n${seen}\n${this.output().slice(-6000)}`);
  }

  untilInStep(boundMs = 60_000): Promise<void> {
    return this.until('all nodes in step with an open leader', async () => isInStep(await this.status()), boundMs);
  }

  async stop(): Promise<void> {
    if (this.up.exitCode === null && this.up.signalCode === null) {
      const exited = new Promise((done) => this.up.once('exit', done));
      this.up.kill('SIGTERM');
      await exited;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function isInStep(now: Status): boolean {
  const leader = now.nodes.find((node) => node.node === now.leader?.node);
  if (leader === undefined || now.route === null || now.route.hold) return false;
  const others = now.nodes.filter((node) => node !== leader);
  if (others.length !== NODES - 1) return false; // a node that says nothing of itself is not listed
  return others.every(
    (node) => node.role === 'follower' && node.timeline === leader.timeline && Number(node.lagBytes ?? Infinity) < 1e6,
  );
}
