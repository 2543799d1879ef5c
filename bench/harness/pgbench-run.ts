import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientProgram } from '../../test/support/pgbench.ts';
import type { Cell } from './matrix.ts';
import { type Latency, parseFailures, parseLatency, parseProgress, parseRate } from './pgbench-output.ts';
import { processorMs } from './process-usage.ts';
import type { Side } from './sides.ts';
import { scriptsOf } from './workloads.ts';

/** What one round of one side gave. */
export interface Figures {
  readonly perSecond: number;
  /** Of the proxy for each transaction, µs; null: there is none. */
  readonly cpuUs: number | null;
  /** The same for each connection that the proxy kept, bytes; and bytes a second of results. Null where it is not the question. */
  readonly bytesPerSecond: number | null;
  readonly residentBytes: number | null;
  readonly latency: Latency | null;
  readonly failed: number;
}

/** The first second belongs to the start: plans, caches, the compiler. It is measured from its end. */
const WARM_SECONDS = 1;
/**
 * pgbench's own clock begins before its clients connect, and a thousand of them take seconds for that (SCRAM is meant to be slow): then it runs
 * until it has told enough, and is ended.
 */
const isMany = ({ clients }: Cell): boolean => clients > 200;
const MOST_SECONDS = 90;

/** Runs pgbench once. Rejects with its output when it fails or says nothing of its progress. */
export async function runPgbench(cell: Cell, side: Side, seconds: number, scale: number): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-bench-'));
  try {
    const { path, env } = clientProgram('pgbench');
    const child = spawn(path, [...pgbenchArguments(cell, side, seconds, scale), 'app'], {
      cwd: folder,
      env: { ...env, ...side.env, PGSSLMODE: cell.tls ? 'require' : 'disable' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const watch = new Watch(side.pid);
    let output = '';
    let line = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const lines = (line + text).split('\n');
      line = lines.pop() ?? '';
      for (const each of lines) watch.onLine(each);
      if (isMany(cell) && watch.lines > seconds + WARM_SECONDS) child.kill('SIGKILL');
    });
    const code = await new Promise<number | null>((done, reject) => {
      child.once('error', reject);
      child.once('close', done);
    });
    const { failed, aborted } = parseFailures(output);
    const enough = isMany(cell) && watch.lines > seconds + WARM_SECONDS;
    if ((code !== 0 && !enough) || aborted) throw new Error(output.trim().split('\n').slice(-8).join('\n'));
    const logs = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'));
    return { ...watch.figures(parseRate(output)), latency: parseLatency(logs, watch.warmAtMs), failed };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** As they are printed in the report; the script files are the harness's own. */
export function pgbenchArguments(cell: Cell, side: Side, seconds: number, scale: number): string[] {
  const threads = Math.min(2, cell.clients);
  const args = ['-h', '127.0.0.1', '-p', String(side.port), '-U', 'app', '-n', '-M', cell.protocol];
  args.push(
    '-c',
    String(cell.clients),
    '-j',
    String(threads),
    '-T',
    String(isMany(cell) ? MOST_SECONDS : seconds + WARM_SECONDS),
    '-P',
    '1',
  );
  args.push('--log', '--sampling-rate', cell.clients === 1 || cell.newConnections ? '1' : '0.2', '-s', String(scale));
  if (cell.workload === 'tpcb') args.push('--max-tries', '10');
  if (cell.newConnections) args.push('-C');
  return [...args, ...scriptsOf(cell.workload)];
}

/** Takes the processor time at the lines of progress, so that connecting and warming up are not counted. */
class Watch {
  readonly #pid: number | null;
  /** Of progress, so far. */
  lines = 0;
  #firstMs: number | null = null;
  #lastMs = 0;
  #seconds = 0;
  #transactions = 0;
  #firstSeconds = 0;
  warmAtMs = 0;

  constructor(pid: number | null) {
    this.#pid = pid;
  }

  onLine(text: string): void {
    const progress = parseProgress(text);
    if (progress === null) return;
    this.lines += 1;
    const usedMs = this.#pid === null ? 0 : processorMs(this.#pid);
    if (this.#firstMs === null) {
      this.#firstMs = usedMs;
      this.#firstSeconds = progress.seconds;
      this.warmAtMs = Date.now();
    } else {
      this.#transactions += progress.perSecond * (progress.seconds - this.#seconds);
      this.#lastMs = usedMs;
    }
    this.#seconds = progress.seconds;
  }

  /** `rate`: of the whole run; it stands in where a machine was too busy for two lines of progress. */
  figures(rate: number | null): Omit<Figures, 'latency' | 'failed'> {
    if (this.#firstMs === null || this.#seconds <= this.#firstSeconds) {
      if (rate === null) throw new Error('pgbench told no progress');
      return { perSecond: rate, cpuUs: null, bytesPerSecond: null, residentBytes: null };
    }
    const perSecond = this.#transactions / (this.#seconds - this.#firstSeconds);
    const cpuUs = this.#pid === null ? null : ((this.#lastMs - this.#firstMs) * 1000) / this.#transactions;
    return { perSecond, cpuUs, bytesPerSecond: null, residentBytes: null };
  }
}
