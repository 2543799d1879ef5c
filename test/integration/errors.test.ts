import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type pg from 'pg';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';
import { isRunning } from '../support/processes.ts';

/** What people meet when something is wrong: each error says what happened and what to do. */
const CLI = resolve(import.meta.dirname, '../../ops/cli.ts');
const HOLD_DEADLINE_MS = 4000;
let cluster: LocalCluster;

before(async () => {
  cluster = await startLocalCluster({
    LEASEHOLD_PROXY_POOL_SIZE: '2',
    LEASEHOLD_PROXY_POOL_WAIT_TIMEOUT_MS: '500',
    LEASEHOLD_PROXY_HOLD_DEADLINE_MS: String(HOLD_DEADLINE_MS),
  });
});
after(() => cluster?.stop());

test('a wrong password is 28P01, as PostgreSQL says it', async () => {
  const error = await refusal(cluster.connect({ connectionString: cluster.dsn.replace('app:app', 'app:wrong') }));
  assert.equal(error.code, '28P01');
  assert.match(error.message, /password authentication failed for user "app"/);
});

test('an unknown role is told nothing more than a wrong password', async () => {
  const error = await refusal(cluster.connect({ connectionString: cluster.dsn.replace('app:app', 'nobody:x') }));
  assert.equal(error.code, '28P01');
});

test('an unknown database is 3D000', async () => {
  const error = await refusal(cluster.connect({ connectionString: cluster.dsn.replace(/app$/, 'nowhere') }));
  assert.equal(error.code, '3D000');
  assert.match(error.message, /database "nowhere" does not exist/);
});

test('a full pool is 53300 after the wait time-out, and says whose pool and how large', async () => {
  const busy = await Promise.all([cluster.connect(), cluster.connect()]);
  const third = await cluster.connect();
  for (const client of busy) {
    await client.query('BEGIN');
    await client.query('SELECT 1');
  }
  const error = await refusal(third.query('/* leasehold: leader */ SELECT 1'));
  assert.equal(error.code, '53300');
  assert.match(`${error.message} ${error.hint}`, /pool/);
  for (const client of busy) await client.query('COMMIT');
  assert.equal((await third.query('/* leasehold: leader */ SELECT 1')).rowCount, 1, 'the session lives on');
  await Promise.all([...busy, third].map((client) => client.end()));
});

test('a hold past its deadline is 57P03, says since when and why, and the session lives on', async () => {
  const client = await cluster.connect();
  await client.query('CREATE TABLE held(id int)');
  // Without agents nobody takes over.
  const agents = (await cluster.status()).nodes.map((node) => node.agentPid as number);
  const leaderPid = (await cluster.leader()).postgresPid as number;
  for (const pid of agents) process.kill(pid, 'SIGSTOP');
  try {
    await cluster.until('the watchdog has ended the leader', () => !isRunning(leaderPid), 15_000);
    const startedMs = performance.now();
    const error = await refusal(client.query('INSERT INTO held VALUES (1)'));
    const waitedMs = performance.now() - startedMs;
    assert.equal(error.code, '57P03');
    assert.match(error.message, /no leader|lease|election/i);
    assert.ok(waitedMs >= HOLD_DEADLINE_MS - 100 && waitedMs < HOLD_DEADLINE_MS + 2000, `${waitedMs}`);
  } finally {
    for (const pid of agents) process.kill(pid, 'SIGCONT');
  }
  await cluster.untilInStep();
  await client.query('INSERT INTO held VALUES (2)');
  assert.deepEqual((await client.query('SELECT id FROM held')).rows, [{ id: 2 }]);
  await client.end();
});

test('a port in use is named, with what to do', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-port-'));
  const { status, output } = cli(['up', '--dir', join(dir, 'c'), '--proxy-port', String(port)]);
  server.close();
  rmSync(dir, { recursive: true, force: true });
  assert.notEqual(status, 0);
  assert.match(output, new RegExp(String(port)));
  assert.match(output, /--proxy-port/);
});

test('a bad configuration file: all faults at once, with where they stand, and no secret', () => {
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-config-'));
  const file = join(dir, 'bad.yaml');
  writeFileSync(
    file,
    'cluster:\n  ttlMs: 5\n  nmae: x\nproxy:\n  listen: { port: 99999 }\nservice: { password: hunter2, extra: 1 }\n',
  );
  const { status, output } = cli(['config', 'check', '--config', file]);
  rmSync(dir, { recursive: true, force: true });
  assert.notEqual(status, 0);
  for (const part of ['cluster.ttlMs', 'nmae', 'proxy.listen.port', 'extra', 'bad.yaml'])
    assert.match(output, new RegExp(part));
  assert.doesNotMatch(output, /hunter2/);
});

test('an etcd that cannot be reached is named by the proxy, which goes on trying', async () => {
  const settings = [
    'cluster.etcd=http://127.0.0.1:1',
    'service.password=x',
    'proxy.listen.port=0',
    'proxy.http.port=0',
  ];
  const proxy = spawn(process.execPath, [CLI, 'proxy', ...settings.flatMap((setting) => ['--set', setting])]);
  let output = '';
  proxy.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  proxy.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise((done) => proxy.once('exit', done));
  try {
    await cluster.until('the address is named', () => /etcd cannot be reached: .*127\.0\.0\.1:1/.test(output), 30_000);
    assert.equal(proxy.exitCode, null);
  } finally {
    proxy.kill('SIGTERM');
    await exited;
  }
});

test('status without a proxy says which address was asked and how to name another', () => {
  const { status, output } = cli(['status', '--api', 'http://127.0.0.1:1']);
  assert.notEqual(status, 0);
  assert.match(output, /127\.0\.0\.1:1/);
  assert.match(output, /--api|LEASEHOLD_API/);
});

async function refusal(action: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await action;
  } catch (error) {
    return error as pg.DatabaseError;
  }
  return assert.fail('an error was expected');
}

function cli(args: readonly string[], timeoutMs = 30_000): { status: number | null; output: string } {
  const result = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    timeout: timeoutMs,
    killSignal: 'SIGTERM',
  });
  return { status: result.status, output: result.stdout + result.stderr };
}
