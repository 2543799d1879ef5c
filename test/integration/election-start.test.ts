import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { freePorts } from '../support/ports.ts';

const CLI = resolve(import.meta.dirname, '../../ops/cli.ts');
let folder = '';

/** An agent with an etcd that nobody runs. */
async function startAgent() {
  const [port, etcd] = (await freePorts(2)) as [number, number];
  const file = join(folder, 'agent.yaml');
  const config = {
    cluster: { name: 'lonely', etcd: [`http://127.0.0.1:${etcd}`], ttlMs: 3000 },
    service: { password: 'service' },
    agent: { node: 'node-a', dataDir: join(folder, 'data'), listen: { port }, replication: { password: 'x' } },
  };
  writeFileSync(file, stringify(config));
  const child = spawn(process.execPath, [CLI, 'agent', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = new Promise<number | null>((done) => child.once('close', done));
  return { child, etcd, exitCode, output: () => output };
}

describe('an agent that starts', () => {
  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'leasehold-start-')));
    chmodSync(folder, 0o755);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('says once which etcd it cannot reach, tries on, and ends in order when it is told to', async () => {
    const { child, etcd, exitCode, output } = await startAgent();
    const until = performance.now() + 20_000;
    while (!output().includes('store.unreachable') && performance.now() < until) await sleep(20);
    await sleep(1500);
    child.kill('SIGTERM');
    assert.equal(await exitCode, 0, output());
    const told = output()
      .split('\n')
      .filter((line) => line.includes('store.unreachable'));
    assert.equal(told.length, 1, output());
    assert.ok(told[0]?.includes(`http://127.0.0.1:${etcd}`));
  });

  test('refuses a damaged local state, and says what to do', async () => {
    mkdirSync(join(folder, 'data.leasehold'));
    writeFileSync(join(folder, 'data.leasehold/agent.json'), '{"version":1,"pledge":');
    const { exitCode, output } = await startAgent();
    assert.equal(await exitCode, 1);
    assert.match(output(), /agent\.json is damaged/);
  });
});
