import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePorts } from '../support/ports.ts';

/** The package as npm would publish it, installed in an empty folder. */
const ROOT = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'leasehold-package-'));
chmodSync(folder, 0o755); // PostgreSQL's own user must pass through
after(() => rmSync(folder, { recursive: true, force: true }));

test('npm pack gives a package that runs in an empty folder: npx leasehold up is ready, serves, and stops', async () => {
  npm(['pack', '--silent', '--pack-destination', folder], ROOT);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  assert.ok(tarball !== undefined, 'npm pack made a tarball');
  npm(['init', '--yes'], folder);
  npm(['install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, tarball)], folder);

  const [port, http] = (await freePorts(2)) as [number, number];
  const args = ['leasehold', 'up', '--dir', join(folder, 'data'), '--proxy-port', `${port}`, '--http-port', `${http}`];
  const up = spawn('npx', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  up.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  up.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = new Promise<number | null>((done) => up.once('exit', done));
  const deadline = performance.now() + 120_000;
  while (!/^ready postgres:/m.test(output) && up.exitCode === null && performance.now() < deadline) await sleep(100);
  try {
    assert.match(output, /^ready postgres:/m);
    const client = new pg.Client({ connectionString: `postgres://app:app@127.0.0.1:${port}/app` });
    await client.connect();
    assert.deepEqual((await client.query('SELECT 41 + 1 AS answer')).rows, [{ answer: 42 }]);
    await client.end();
  } finally {
    up.kill('SIGTERM');
    await exited;
  }
});

function npm(args: readonly string[], cwd: string): void {
  // What an outer `npm test` exports must not steer this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  const result = spawnSync('npm', args, { cwd, env, encoding: 'utf8', timeout: 300_000 });
  assert.equal(result.status, 0, `npm ${args.join(' ')}: ${result.stderr}`);
}
