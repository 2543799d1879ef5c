import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DockerComposeEnvironment, type StartedDockerComposeEnvironment, Wait } from 'testcontainers';
import { freePorts } from '../support/ports.ts';

/** The cluster of compose.yaml, from the image of the Dockerfile: three etcd, three nodes, two proxies. */
const ROOT = resolve(import.meta.dirname, '../..');
const PROJECT = `leasehold-test-${process.pid}`;
const CONTAINER_LOG_LINES = 40;

interface NodeStatus {
  readonly node: string;
  readonly role: string;
  readonly state: string;
  readonly timeline: number;
  readonly lagBytes: number | string | null;
}
interface Status {
  readonly term: string | number;
  readonly leader: { readonly node: string } | null;
  readonly route: { readonly hold: boolean } | null;
  readonly nodes: readonly NodeStatus[];
}

let cluster: StartedDockerComposeEnvironment;
let ports: { proxy1: number; http1: number; proxy2: number; http2: number };

before(async () => {
  docker(['build', '-q', '-t', 'leasehold', ROOT]);
  const [proxy1, http1, proxy2, http2] = (await freePorts(4)) as [number, number, number, number];
  ports = { proxy1, http1, proxy2, http2 };
  // Ryuk, which removes the containers of a killed test, is an image of its own that cannot always be pulled.
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  cluster = await new DockerComposeEnvironment(ROOT, 'compose.yaml')
    .withProjectName(PROJECT)
    .withEnvironment({
      LEASEHOLD_PROXY1_PORT: String(proxy1),
      LEASEHOLD_HTTP1_PORT: String(http1),
      LEASEHOLD_PROXY2_PORT: String(proxy2),
      LEASEHOLD_HTTP2_PORT: String(http2),
    })
    .withWaitStrategy('proxy1-1', Wait.forHealthCheck())
    .withWaitStrategy('proxy2-1', Wait.forHealthCheck())
    .withStartupTimeout(120_000)
    .up();
  await until('three nodes in step', async () => inStep(await status(ports.http1), 3));
});

after(async () => {
  await cluster?.down({ removeVolumes: true });
});

test('a row written through one proxy is read through the other', async () => {
  await query(ports.proxy1, 'CREATE TABLE shared(id int PRIMARY KEY)');
  await query(ports.proxy1, 'INSERT INTO shared VALUES (1)');
  await until('the row is seen through the second proxy', async () => {
    const rows = await query(ports.proxy2, 'SELECT id FROM shared');
    return rows.length === 1;
  });
});

test('the leader’s container is stopped: writes go on, nothing acknowledged is lost, the old leader rejoins', async () => {
  await loseLeader('stop');
});

test('the leader’s container is killed: writes go on, nothing acknowledged is lost, the old leader rejoins', async () => {
  await loseLeader('kill');
});

async function loseLeader(how: 'stop' | 'kill'): Promise<void> {
  const table = `written_${how}`;
  await query(ports.proxy1, `CREATE TABLE ${table}(id int PRIMARY KEY)`);
  const old = leaderOf(await status(ports.http1));
  const writer = startWriter(table);
  try {
    await until('the writer has begun', async () => writer.acknowledged.length > 20);
    docker([how, containerOf(old)]);
    const before = writer.acknowledged.length;
    await until('another node leads', async () => leaderOf(await status(ports.http2)) !== old);
    await until('writes go on', async () => writer.acknowledged.length > before + 20);
  } finally {
    await writer.stop();
  }
  const rows = await query(ports.proxy1, `/* leasehold: leader */ SELECT id FROM ${table}`);
  const found = new Set(rows.map((row) => (row as { id: number }).id));
  const lost = writer.acknowledged.filter((id) => !found.has(id));
  assert.deepEqual(lost, [], `acknowledged writes that are missing (${writer.acknowledged.length} were acknowledged)`);

  docker(['start', containerOf(old)]);
  await until(`${old} is a follower in step`, async () => {
    const now = await status(ports.http1);
    return inStep(now, 3) && now.nodes.some((node) => node.node === old && node.role === 'follower');
  });
}

/** Inserts one number after the other through the first proxy; what was answered with success is acknowledged. */
function startWriter(table: string): { readonly acknowledged: number[]; stop(): Promise<void> } {
  const acknowledged: number[] = [];
  let running = true;
  const work = async (): Promise<void> => {
    const client = await connect(ports.proxy1);
    try {
      for (let id = 0; running; id++) {
        // A commit whose answer was lost is unknown (08007): it is neither acknowledged nor wrong.
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
  return {
    acknowledged,
    stop: async () => {
      running = false;
      await done;
    },
  };
}

function inStep(now: Status, nodes: number): boolean {
  const followers = now.nodes.filter((node) => node.role === 'follower' && Number(node.lagBytes ?? Infinity) < 1e6);
  const timelines = new Set(now.nodes.map((node) => node.timeline));
  return now.leader !== null && now.route?.hold === false && followers.length === nodes - 1 && timelines.size === 1;
}

function leaderOf(now: Status): string {
  return now.leader?.node ?? 'none';
}

async function status(httpPort: number): Promise<Status> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/status`, { signal: AbortSignal.timeout(5000) });
  return (await response.json()) as Status;
}

async function connect(port: number): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'app',
    password: 'app',
    database: 'app',
    connectionTimeoutMillis: 30_000,
  });
  client.on('error', () => {}); // a lost connection shows in the query that was under way
  await client.connect();
  return client;
}

async function query(port: number, sql: string): Promise<unknown[]> {
  const client = await connect(port);
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}

/** Polls the condition; at the bound fails with what it last saw and what the containers printed last. */
async function until(what: string, condition: () => Promise<boolean>, boundMs = 90_000): Promise<void> {
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
  const seen = await status(ports.http1).catch((error: Error) => error.message);
  const logs = spawnSync('docker', ['compose', '-p', PROJECT, 'logs', '--tail', String(CONTAINER_LOG_LINES)], {
    encoding: 'utf8',
    cwd: ROOT,
  });
  assert.fail(`not within ${boundMs} ms: ${what} (${String(last)})\n${JSON.stringify(seen, null, 1)}\n${logs.stdout}`);
}

function containerOf(service: string): string {
  return `${PROJECT}-${service}-1`;
}

function docker(args: readonly string[]): void {
  const result = spawnSync('docker', args, { encoding: 'utf8', timeout: 300_000 });
  assert.equal(result.status, 0, `docker ${args.join(' ')}: ${result.stderr}`);
}
