import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DockerComposeEnvironment, type StartedDockerComposeEnvironment, Wait } from 'testcontainers';
import { freePorts } from '../support/ports.ts';
import type { testedRelease } from './images.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CONTAINER_LOG_LINES = 40;
const NODES = 3;

export interface NodeStatus {
  readonly node: string;
  readonly role: string;
  readonly state: string;
  readonly timeline: number;
  readonly lagBytes: number | string | null;
}
export interface Status {
  readonly term: string | number;
  readonly leader: { readonly node: string } | null;
  readonly route: { readonly hold: boolean } | null;
  readonly nodes: readonly NodeStatus[];
}

export interface Writer {
  /** Numbers whose INSERT was answered with success, in that order. */
  readonly acknowledged: number[];
  stop(): Promise<void>;
}

/** The image of the Dockerfile with that PostgreSQL, under a tag of its own. */
export function buildImage({ debian, postgresql }: ReturnType<typeof testedRelease>): string {
  const tag = `leasehold:pg${postgresql}`;
  docker([
    'build',
    '-q',
    '-t',
    tag,
    '--build-arg',
    `DEBIAN=${debian}`,
    '--build-arg',
    `POSTGRESQL=${postgresql}`,
    ROOT,
  ]);
  return tag;
}

/** The cluster of compose.yaml (three etcd, three nodes, two proxies) with ports of its own on loopback. */
export class ComposeCluster {
  readonly #project = `leasehold-test-${process.pid}`;
  readonly #environment: Record<string, string>;
  readonly ports: { readonly proxy1: number; readonly http1: number; readonly proxy2: number; readonly http2: number };
  #started: StartedDockerComposeEnvironment | null = null;

  private constructor(ports: readonly number[], image: string) {
    const [proxy1, http1, proxy2, http2] = ports as [number, number, number, number];
    this.ports = { proxy1, http1, proxy2, http2 };
    this.#environment = {
      LEASEHOLD_IMAGE: image,
      LEASEHOLD_PROXY1_PORT: String(proxy1),
      LEASEHOLD_HTTP1_PORT: String(http1),
      LEASEHOLD_PROXY2_PORT: String(proxy2),
      LEASEHOLD_HTTP2_PORT: String(http2),
    };
  }

  /** Up, with both proxies ready and three nodes in step. */
  static async start(image: string): Promise<ComposeCluster> {
    const cluster = new ComposeCluster(await freePorts(4), image);
    // Ryuk, which removes the containers of a killed test, is an image of its own that cannot always be pulled.
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
    cluster.#started = await new DockerComposeEnvironment(ROOT, 'compose.yaml')
      .withProjectName(cluster.#project)
      .withEnvironment(cluster.#environment)
      .withWaitStrategy('proxy1-1', Wait.forHealthCheck())
      .withWaitStrategy('proxy2-1', Wait.forHealthCheck())
      .withStartupTimeout(120_000)
      .up();
    await cluster.untilInStep('three nodes in step');
    return cluster;
  }

  async down(): Promise<void> {
    await this.#started?.down({ removeVolumes: true });
  }

  container(service: string): string {
    return `${this.#project}-${service}-1`;
  }

  /** The service cut from every other one, as by a pulled cable: its processes run on. */
  cut(service: string): void {
    docker(['network', 'disconnect', `${this.#project}_default`, this.container(service)]);
  }

  heal(service: string): void {
    docker(['network', 'connect', '--alias', service, `${this.#project}_default`, this.container(service)]);
  }

  /** A node's container and its volume gone for good, and a new one with nothing in it in its place. */
  replace(node: string): void {
    docker(['rm', '--force', this.container(node)]);
    docker(['volume', 'rm', `${this.#project}_${node}`]);
    docker(['compose', '-p', this.#project, 'up', '--detach', '--no-deps', '--no-build', node], this.#environment);
  }

  async status(httpPort = this.ports.http1): Promise<Status> {
    const response = await fetch(`http://127.0.0.1:${httpPort}/status`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as Status;
  }

  async leader(httpPort = this.ports.http1): Promise<string> {
    return (await this.status(httpPort)).leader?.node ?? 'none';
  }

  async query(sql: string, port = this.ports.proxy1): Promise<Record<string, unknown>[]> {
    const client = await connect(port);
    try {
      return (await client.query(sql)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  }

  /** Inserts one number after the other into a new table; a commit whose answer was lost (08007) is neither acknowledged nor wrong. */
  async startWriter(table: string, port = this.ports.proxy1): Promise<Writer> {
    await this.query(`CREATE TABLE ${table}(id int PRIMARY KEY)`, port);
    const acknowledged: number[] = [];
    let running = true;
    const work = async (): Promise<void> => {
      const client = await connect(port);
      try {
        for (let id = 0; running; id++) {
          await client.query(`INSERT INTO ${table} VALUES ($1)`, [id]).then(
            () => acknowledged.push(id),
            (error: pg.DatabaseError) => assert.equal(error.code, '08007', error.message),
          );
        }
      } finally {
        await client.end();
      }
    };
    const done = work();
    done.catch(() => {}); // it is told by stop()
    const stop = async (): Promise<void> => {
      running = false;
      await done;
    };
    await this.until('the writer has begun', async () => acknowledged.length > 20);
    return { acknowledged, stop };
  }

  async untilMoreWritten(writer: Writer): Promise<void> {
    const before = writer.acknowledged.length;
    await this.until('writes go on', async () => writer.acknowledged.length > before + 20);
  }

  /** Every acknowledged number is there, on the leader. */
  async assertAllThere(table: string, writer: Writer): Promise<void> {
    const rows = await this.query(`/* leasehold: leader */ SELECT id FROM ${table}`, this.ports.proxy2);
    const found = new Set(rows.map((row) => row['id']));
    const lost = writer.acknowledged.filter((id) => !found.has(id));
    assert.deepEqual(
      lost,
      [],
      `acknowledged writes that are missing (${writer.acknowledged.length} were acknowledged)`,
    );
  }

  async untilInStep(what: string, httpPort = this.ports.http1): Promise<void> {
    await this.until(what, async () => inStep(await this.status(httpPort)));
  }

  /** Polls the condition; at the bound fails with what it last saw and what the containers printed last. */
  async until(what: string, condition: () => Promise<boolean>, boundMs = 90_000): Promise<void> {
    const deadline = performance.now() + boundMs;
    let last: unknown = 'never true';
    while (performance.now() < deadline) {
      try {
        if (await condition()) return;
      } catch (error) {
        last = error;
      }
      await sleep(100);
    }
    const seen = await this.status().catch((error: Error) => error.message);
    const logs = spawnSync('docker', ['compose', '-p', this.#project, 'logs', '--tail', String(CONTAINER_LOG_LINES)], {
      encoding: 'utf8',
      cwd: ROOT,
    });
    assert.fail(
      `not within ${boundMs} ms: ${what} (${String(last)})\n${JSON.stringify(seen, null, 1)}\n${logs.stdout}`,
    );
  }
}

export function docker(args: readonly string[], environment: Readonly<Record<string, string>> = {}): string {
  const env = { ...process.env, ...environment };
  const result = spawnSync('docker', args, { encoding: 'utf8', timeout: 300_000, cwd: ROOT, env });
  assert.equal(result.status, 0, `docker ${args.join(' ')}: ${result.stderr}`);
  return result.stdout.trim();
}

async function connect(port: number): Promise<pg.Client> {
  const login = { host: '127.0.0.1', port, user: 'app', password: 'app', database: 'app' };
  const client = new pg.Client({ ...login, connectionTimeoutMillis: 30_000 });
  client.on('error', () => {}); // a lost connection shows in the query that was under way
  await client.connect();
  return client;
}

function inStep(now: Status): boolean {
  const followers = now.nodes.filter((node) => node.role === 'follower' && Number(node.lagBytes ?? Infinity) < 1e6);
  const timelines = new Set(now.nodes.map((node) => node.timeline));
  return now.leader !== null && now.route?.hold === false && followers.length === NODES - 1 && timelines.size === 1;
}
