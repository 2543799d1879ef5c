import assert from 'node:assert/strict';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { leashFile } from '../paths.ts';
import { isAlive, markOf } from './process-table.ts';
import { Supervisor } from './supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'leasehold-supervisor-'));
after(() => rmSync(folder, { recursive: true }));

function script(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

async function until(condition: () => boolean, boundMs = 8000): Promise<void> {
  const deadline = performance.now() + boundMs;
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'not in time');
    await sleep(20);
  }
}

const never = new AbortController().signal;

test('a child that is killed is started again, and stays down once it is stopped', async () => {
  const lines: string[] = [];
  const ended: string[] = [];
  const supervisor = new Supervisor({ onEnded: (_, how) => ended.push(how), onFailing: () => {}, onPids: () => {} });
  const file = script('well.mjs', 'console.log(`pid ${process.pid}`); setInterval(() => {}, 1000);');
  supervisor.start({ name: 'a', args: [file], env: process.env, onLine: (line) => lines.push(line) });
  await until(() => lines.length === 1);
  process.kill(Number(lines[0]?.slice(4)), 'SIGKILL');
  await until(() => lines.length === 2);
  assert.deepEqual(ended, ['SIGKILL']);
  const mark = markOf(Number(lines[1]?.slice(4)));
  assert.deepEqual(await supervisor.stop(['a'], 5000, never), []);
  assert.equal(isAlive(mark), false);
  assert.equal(supervisor.pids().length, 0);
});

test('a child that ignores SIGTERM is killed when its time is over', async () => {
  const lines: string[] = [];
  const supervisor = new Supervisor({ onEnded: () => {}, onFailing: () => {}, onPids: () => {} });
  const file = script('deaf.mjs', "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000);");
  supervisor.start({ name: 'deaf', args: [file], env: process.env, onLine: (line) => lines.push(line) });
  await until(() => lines.length === 1);
  assert.deepEqual(await supervisor.stop(['deaf'], 100, never), ['deaf']);
});

test('a child that cannot stay up is reported, and tried ever later', async () => {
  const delays: number[] = [];
  let failing = '';
  const supervisor = new Supervisor({
    onEnded: (_, __, delayMs) => delays.push(delayMs),
    onFailing: (_, how) => {
      failing = how;
    },
    onPids: () => {},
  });
  supervisor.start({ name: 'bad', args: [script('bad.mjs', 'process.exit(3);')], env: process.env, onLine: () => {} });
  await until(() => failing !== '');
  await supervisor.stop(['bad'], 1000, never);
  assert.equal(failing, 'exit code 3');
  assert.deepEqual(delays, [200, 400, 800, 1600]);
});

test('a leashed program does not outlive a parent that is killed', async () => {
  const parent = script(
    'parent.mjs',
    `import { spawn } from 'node:child_process';
     const child = spawn(process.execPath, [${JSON.stringify(leashFile)}, 'sleep', '60'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], detached: true });
     child.on('message', (message) => console.log(message.pid, child.pid));`,
  );
  const process_ = spawn(process.execPath, [parent], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = (await once(process_.stdout, 'data')) as [Buffer];
  const marks = chunk.toString().trim().split(' ').map(Number).map(markOf);
  assert.equal(marks.filter(isAlive).length, 2);
  process_.kill('SIGKILL');
  await until(() => !marks.some(isAlive));
});
