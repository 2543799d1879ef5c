import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identityFor } from '../../election/postgres/identity.ts';
import { findProcesses, killAllProcesses } from '../../election/postgres/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-wd-'));
chmodSync(folder, 0o755);
const dataDir = join(realpathSync(folder), 'data');
const { uid } = identityFor(undefined);
const started: ChildProcess[] = [];
let port = 0;

interface Agent {
  readonly process: ChildProcess;
  readonly postmaster: number;
  readonly watchdog: number;
}

async function startAgent(deadlineMs: number | null, dieWithAgent: boolean): Promise<Agent> {
  const agent = { node: 'node-a', dataDir, listen: { port }, replication: { password: 'x' } };
  const file = fileURLToPath(new URL('./fixtures/watchdog-agent.ts', import.meta.url));
  const child = spawn(process.execPath, [file, JSON.stringify({ agent, deadlineMs, dieWithAgent })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(child);
  for await (const line of createInterface({ input: child.stdout })) {
    return { process: child, ...(JSON.parse(line) as { postmaster: number; watchdog: number }) };
  }
  throw new Error('the agent ended before it was ready');
}

const left = () => findProcesses([dataDir], uid).length;

/** Whether the process runs; one that is dead but not yet waited for does not. */
function runs(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** How long until nothing of the server is left; Infinity where something still is at the limit. */
async function goneAfter(limitMs: number): Promise<number> {
  const start = performance.now();
  while (performance.now() - start < limitMs) {
    if (left() === 0) return performance.now() - start;
    await sleep(5);
  }
  return Number.POSITIVE_INFINITY;
}

describe('the watchdog', () => {
  before(async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as { port: number }).port;
    await new Promise((resolve) => server.close(resolve));
  });

  afterEach(() => {
    for (const child of started) if (child.exitCode === null) child.kill('SIGKILL');
  });

  after(async () => {
    await killAllProcesses(dataDir, uid);
    rmSync(folder, { recursive: true, force: true });
  });

  test('while it is fed nothing happens; when the agent is stopped PostgreSQL is dead before the deadline', async () => {
    const agent = await startAgent(1500, false);
    await sleep(2000);
    assert.ok(runs(agent.postmaster));
    process.kill(agent.process.pid as number, 'SIGSTOP');
    const ms = await goneAfter(3000);
    console.log(`# dead ${ms.toFixed(0)} ms after the agent was stopped, deadline 1400–1500`);
    assert.ok(ms > 700 && ms < 1400, `${ms}`);
    assert.ok(runs(agent.watchdog));
    process.kill(agent.process.pid as number, 'SIGKILL');
    process.kill(agent.process.pid as number, 'SIGCONT');
    await sleep(300);
    assert.equal(runs(agent.watchdog), false);
  });

  test('a postmaster that is stopped itself is killed as well', async () => {
    const agent = await startAgent(1500, false);
    process.kill(agent.postmaster, 'SIGSTOP');
    process.kill(agent.process.pid as number, 'SIGSTOP');
    const ms = await goneAfter(3000);
    console.log(`# stopped postmaster dead after ${ms.toFixed(0)} ms`);
    assert.ok(ms > 1000 && ms < 1500, `${ms}`);
    process.kill(agent.process.pid as number, 'SIGKILL');
  });

  test('after a kill of the agent PostgreSQL is dead before the deadline', async () => {
    const agent = await startAgent(1500, false);
    process.kill(agent.process.pid as number, 'SIGKILL');
    await sleep(400);
    assert.ok(runs(agent.postmaster));
    const ms = await goneAfter(3000);
    console.log(`# dead ${(ms + 400).toFixed(0)} ms after the agent was killed`);
    assert.ok(ms + 400 < 1400, `${ms}`);
    await sleep(200);
    assert.equal(runs(agent.watchdog), false);
  });

  test('a follower outlives its agent; the next agent stops it before anything else, and its own server is left alone', async () => {
    const agent = await startAgent(null, false);
    process.kill(agent.process.pid as number, 'SIGKILL');
    await sleep(500);
    assert.ok(runs(agent.postmaster));
    assert.equal(runs(agent.watchdog), false);
    const leader = await startAgent(2500, false);
    assert.equal(runs(agent.postmaster), false);
    process.kill(leader.process.pid as number, 'SIGKILL');
    // The dead agent's watchdog still waits for its deadline when this one starts its server.
    const next = await startAgent(null, true);
    assert.notEqual(next.postmaster, leader.postmaster);
    await sleep(2700);
    assert.ok(runs(next.postmaster));
    assert.equal(runs(leader.watchdog), false);
    process.kill(next.process.pid as number, 'SIGKILL');
    const ms = await goneAfter(3000);
    console.log(`# with dieWithAgent gone ${ms.toFixed(0)} ms after the agent was killed`);
    assert.ok(ms < 3000);
  });
});
