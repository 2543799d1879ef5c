import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Figures } from './pgbench-run.ts';
import { processorMs, residentKiB } from './process-usage.ts';
import type { Side } from './sides.ts';

/** Garbage of the log-ins has time to go. */
const SETTLE_MS = 5_000;
const LIMIT_MS = 120_000;

/**
 * What a proxy that was just started needs more of memory with so many idle clients, for each of them; and how fast it let them in. Rejects when
 * one of them is refused or lost.
 */
export async function runIdle(side: Side, clients: number, verifier: string): Promise<Figures> {
  const { pid } = side;
  if (pid === null) throw new RangeError('without a proxy there is nothing to measure');
  const beforeKiB = residentKiB(pid);
  const beforeMs = processorMs(pid);
  const program = join(import.meta.dirname, 'idle-clients-main.ts');
  const child = spawn(process.execPath, [program, String(side.port), String(clients), verifier], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const gone = new Promise((done) => child.once('close', done));
  const startedMs = performance.now();
  try {
    while (!output.includes('ready')) {
      if (child.exitCode !== null || performance.now() - startedMs > LIMIT_MS)
        throw new Error(`the clients did not get in: ${errors.trim().slice(-500)}`);
      await sleep(20);
    }
    const seconds = (performance.now() - startedMs) / 1000;
    const cpuUs = ((processorMs(pid) - beforeMs) * 1000) / clients;
    await sleep(SETTLE_MS);
    if (output.includes('lost')) throw new Error('a client was disconnected');
    const residentBytes = ((residentKiB(pid) - beforeKiB) * 1024) / clients;
    return { perSecond: clients / seconds, cpuUs, bytesPerSecond: null, residentBytes, latency: null, failed: 0 };
  } finally {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
  }
}
