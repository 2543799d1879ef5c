import { spawn } from 'node:child_process';
import type { Figures } from './pgbench-run.ts';
import { clientProgram } from '../../test/support/pgbench.ts';
import { processorMs } from './process-usage.ts';
import type { Side } from './sides.ts';

const REPEATS = 30;
/** Rows of `bench_big` so many times: 300 MB. */
const COPY_OUT = `COPY (SELECT i, text FROM bench_big, generate_series(1, ${REPEATS})) TO STDOUT`;

/** A big COPY out of the database; bytes a second as psql got them. */
export async function runCopyOut(side: Side): Promise<Figures> {
  const usedBefore = side.pid === null ? 0 : processorMs(side.pid);
  const startedMs = performance.now();
  const { path, env } = clientProgram('psql');
  const args = ['-h', '127.0.0.1', '-p', String(side.port), '-U', 'app', '-XqAt', '-v', 'ON_ERROR_STOP=1'];
  const child = spawn(path, [...args, '-c', COPY_OUT, 'app'], {
    env: { ...env, ...side.env, PGSSLMODE: 'disable' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let bytes = 0;
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (bytes += chunk.length));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((done, reject) => {
    child.once('error', reject);
    child.once('close', done);
  });
  if (code !== 0) throw new Error(errors.trim());
  const seconds = (performance.now() - startedMs) / 1000;
  const cpuUs = side.pid === null ? null : (processorMs(side.pid) - usedBefore) * 1000;
  return {
    perSecond: 1 / seconds,
    cpuUs,
    bytesPerSecond: bytes / seconds,
    residentBytes: null,
    latency: null,
    failed: 0,
  };
}
