import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePorts } from '../support/ports.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'leasehold-ops-'));
chmodSync(folder, 0o755); // PostgreSQL's own user must get in
const dir = join(folder, 'cluster');
const [port, httpPort] = (await freePorts(2)) as [number, number];
const dsn = `postgres://app:app@127.0.0.1:${port}/app`;
const running = new Set<ChildProcess>();

// A test that failed must not fail the next one.
afterEach(async () => {
  for (const child of running) child.kill('SIGTERM');
  await Promise.all([...running].map(stopped));
});

after(async () => {
  await untilNothingRuns(20_000);
  rmSync(folder, { recursive: true, force: true });
});

interface Up {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly readyMs: number;
}

/** Through the launcher, as `npm start` does it; with this Node the launcher does not start another. */
async function up(...args: string[]): Promise<Up> {
  const startedMs = performance.now();
  const { child, output } = launch(
    'up',
    '--dir',
    dir,
    '--proxy-port',
    String(port),
    '--http-port',
    String(httpPort),
    ...args,
  );
  while (!output().includes(`\nready ${dsn}\n`)) {
    assert.equal(child.exitCode, null, output());
    assert.ok(performance.now() - startedMs < 90_000, `not ready:\n${output()}`);
    await sleep(50);
  }
  return { child, output, readyMs: performance.now() - startedMs };
}

function launch(...args: string[]): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [join(ROOT, 'ops/launch.mjs'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let text = '\n';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { child, output: () => text };
}

function cli(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, LEASEHOLD_API: `http://127.0.0.1:${httpPort}`, LEASEHOLD_DSN: dsn };
  return spawnSync(process.execPath, [join(ROOT, 'ops/cli.ts'), ...args], { encoding: 'utf8', env, timeout: 150_000 });
}

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  try {
    return ((await client.query(sql)) as pg.QueryResult<Record<string, unknown>>).rows;
  } finally {
    await client.end();
  }
}

/** Every process that has the cluster's folder in its command line or as its working folder. */
function processesOfCluster(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = read(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
      const cwd = read(() => readlinkSync(`/proc/${pid}/cwd`));
      return command.includes(folder) || cwd.startsWith(folder) ? [`${pid} ${command.slice(0, 150)}`] : [];
    });
}

function read(how: () => string): string {
  try {
    return how();
  } catch {
    return '';
  }
}

async function untilNothingRuns(boundMs: number): Promise<void> {
  const deadline = performance.now() + boundMs;
  let left = processesOfCluster();
  while (left.length > 0 && performance.now() < deadline) {
    await sleep(100);
    left = processesOfCluster();
  }
  assert.deepEqual(left, []);
}

async function stopped(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

test('up is ready, serves, and leaves nothing behind when it is asked to stop; the data stay', async (t) => {
  const first = await up();
  t.diagnostic(`cold start: ready in ${Math.round(first.readyMs)} ms`);
  await query('CREATE TABLE kept (id int)');
  await query('INSERT INTO kept VALUES (1), (2)');
  first.child.kill('SIGTERM');
  assert.equal(await stopped(first.child), 0, first.output());
  assert.deepEqual(processesOfCluster(), []);

  const again = await up();
  t.diagnostic(`warm start: ready in ${Math.round(again.readyMs)} ms`);
  // Where others use the processors too, its share of them is smaller.
  const share = Math.max(1, (loadavg()[0] ?? 0) / availableParallelism());
  assert.ok(again.readyMs < 15_000 * share, `a warm start took ${again.readyMs} ms`);
  assert.deepEqual(await query('SELECT count(*)::int AS n FROM kept'), [{ n: 2 }]);
  again.child.kill('SIGINT');
  assert.equal(await stopped(again.child), 0, again.output());
  assert.deepEqual(processesOfCluster(), []);
});

test('the commands work on a running cluster, and nothing outlives an up that was killed', async (t) => {
  const { child, output } = await up();

  const status = cli('status', '--json');
  assert.equal(status.status, 0, status.stderr);
  const before = JSON.parse(status.stdout) as {
    term: number;
    leader: { node: string };
    nodes: { node: string; role: string; postgresPid: number; usable: boolean }[];
  };
  const { leader, nodes } = before;
  assert.deepEqual(
    nodes.map((node) => node.node),
    ['node1', 'node2', 'node3'],
  );
  assert.match(cli('status').stdout, /writes are open/);
  assert.match(cli('monitor', '--count', '2', '--interval', '100').stdout, /(.* term=\d+ leader=node\d open .*\n){2}/);

  const second = launch('up', '--dir', dir);
  assert.equal(await stopped(second.child), 1);
  assert.match(second.output(), new RegExp(`a cluster already runs from ${dir} \\(process ${child.pid}\\)`));
  const third = launch('up', '--ephemeral', '--proxy-port', String(port));
  assert.equal(await stopped(third.child), 1);
  assert.match(third.output(), new RegExp(`port ${port} .*is in use by process \\d+ .*--proxy-port`));

  const target = nodes.find((node) => node.role === 'follower')?.node ?? '';
  const change = cli('switchover', '--to', target);
  assert.equal(change.status, 0, change.stderr + output());
  t.diagnostic(change.stdout.trim().replaceAll('\n', '; '));
  assert.match(change.stdout, new RegExp(`${leader.node} → ${target}`));

  assert.equal(cli('pause', '--reason', 'a test').status, 0);
  const refused = cli('failover');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /automatic failover is paused by .*: a test/);
  assert.match(cli('status').stdout, /automatic failover is PAUSED by .*\(a test\)/);
  // Nobody takes over: the leader whose PostgreSQL ends leads again itself.
  const paused = JSON.parse(cli('status', '--json').stdout) as typeof before;
  process.kill(paused.nodes.find((node) => node.node === target)?.postgresPid ?? 0, 'SIGKILL');
  await query('CREATE TABLE in_a_pause (id int)');
  const back = JSON.parse(cli('status', '--json').stdout) as typeof before;
  assert.deepEqual([back.leader.node, back.term], [target, paused.term + 1]);
  assert.equal(cli('resume').status, 0);
  assert.match(cli('resume').stderr, /not paused/);
  assert.match(
    cli('failover', '--allow-data-loss', '--node', leader.node).stderr,
    new RegExp(`${target} holds the lease`),
  );

  // A drill waits for nobody: right after a change of the leader its guards refuse.
  const bound = performance.now() + 60_000;
  while (cli('drill', 'crash', '--dry-run').status !== 0) {
    assert.ok(performance.now() < bound, cli('drill', 'crash', '--dry-run').stdout + output());
    await sleep(200);
  }
  const drill = cli('drill', 'crash', '--yes');
  assert.equal(drill.status, 0, drill.stdout + drill.stderr + output());
  t.diagnostic(drill.stdout.trim().replaceAll('\n', '; '));
  assert.match(drill.stdout, /all there/);
  assert.match(cli('history').stdout, /bootstrap[\s\S]*switchover[\s\S]*failover/);

  child.kill('SIGKILL');
  await stopped(child);
  await untilNothingRuns(10_000);
});

test('an up that was killed is followed by another in the same folder', async () => {
  const first = await up();
  first.child.kill('SIGKILL');
  await stopped(first.child);
  const again = await up();
  assert.ok((await query('SELECT count(*)::int AS n FROM kept'))[0]?.['n'] === 2);
  again.child.kill('SIGTERM');
  assert.equal(await stopped(again.child), 0, again.output());
  assert.deepEqual(processesOfCluster(), []);
});
