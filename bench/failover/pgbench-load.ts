import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { clientProgram, initialisePgbench } from '../../test/support/pgbench.ts';
import { clientErrors, type LoggedTransaction, parsePgbenchLog, type Stalls, stallsOf } from './pgbench-log.ts';
import { query } from './writer.ts';

const SCALE = 10;
const TRIES = 4;
const CLIENTS = 32;
/** Of one pgbench: before, in and after the change of the leader. */
const SECONDS = 6;
const RESTART_MS = 20;
/** Of pgbench, after the change. */
const TAIL_MS = 500;
const PATIENCE_MS = 120_000;

/** pgbench's own transaction ("TPC-B (sort of)"), whose row of the history says which transaction of whom it was. */
const SCRIPT = `\\set n :n + 1
\\set aid random(1, 100000 * ${SCALE})
\\set bid random(1, 1 * ${SCALE})
\\set tid random(1, 10 * ${SCALE})
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler)
  VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP, concat_ws('-', :run, :client_id, :n));
END;
`;

export interface LoadResult {
  /** Null: some client had no acknowledged transaction any more. */
  readonly stalls: Stalls | null;
  readonly transactions: number;
  /** What clients were told; each ends that client of pgbench. */
  readonly errors: readonly string[];
  readonly failed: number;
  /** How often pgbench had to be started again, since clients of it were gone. */
  readonly restarts: number;
  /** Acknowledged transactions that are not in the history. */
  readonly lost: number;
}

/** A million rows at once may be too much for a busy machine at the first try; it is not what is measured. */
export async function prepareLoad(port: number): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await initialisePgbench(port, SCALE);
    } catch (error) {
      if (tries === TRIES) throw error;
      await sleep(2000);
    }
  }
}

interface Instance {
  readonly run: number;
  readonly log: readonly LoggedTransaction[];
  readonly code: number | null;
  readonly output: string;
  readonly endedMs: number;
}

let runs = Math.floor(Date.now() / 1000) % 100_000_000;

/**
 * pgbench with 32 clients while `change` happens, started again at once when its clients were thrown out, until all of
 * them write again.
 */
export async function changeUnderLoad(port: number, change: () => Promise<void>): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-bench-'));
  writeFileSync(join(folder, 'script.sql'), SCRIPT);
  const instances: Instance[] = [];
  try {
    const startedMs = Date.now();
    let running = runPgbench(port, folder);
    await sleep(2000);
    const fromMs = Date.now();
    let doneMs = Number.POSITIVE_INFINITY;
    const changing = change().finally(() => {
      doneMs = Date.now();
    });
    changing.catch(() => undefined); // told below
    for (;;) {
      const instance = await running;
      instances.push(instance);
      // One that was over before the change has seen nothing of it.
      if (instance.code === 0 && instance.endedMs > doneMs + TAIL_MS) break;
      if (Date.now() - startedMs > PATIENCE_MS) throw new Error(`no pgbench came through:\n${instance.output}`);
      await sleep(RESTART_MS);
      running = runPgbench(port, folder);
    }
    await changing;
    return await resultOf(port, instances, fromMs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function resultOf(port: number, instances: readonly Instance[], fromMs: number): Promise<LoadResult> {
  const log = instances.flatMap((instance) => instance.log);
  let lost = 0;
  for (const instance of instances) lost += await missing(port, instance);
  return {
    stalls: stallsOf(log, CLIENTS, fromMs),
    transactions: log.filter(({ failed }) => !failed).length,
    failed: log.filter(({ failed }) => failed).length,
    errors: instances.flatMap(({ output }) => clientErrors(output)),
    restarts: instances.filter(({ code }) => code !== 0).length,
    lost,
  };
}

async function missing(port: number, { run, log }: Instance): Promise<number> {
  if (log.length === 0) return 0;
  const sql = `/* leasehold: leader */ SELECT rtrim(filler) AS name FROM pgbench_history WHERE filler LIKE '${run}-%'`;
  const found = new Set((await query(port, sql)).map((row) => row['name']));
  return log.filter(({ client, number, failed }) => !failed && !found.has(`${run}-${client}-${number}`)).length;
}

function runPgbench(port: number, folder: string): Promise<Instance> {
  const run = (runs += 1);
  const { path, env } = clientProgram('pgbench');
  const own = ['-h', '127.0.0.1', '-p', String(port), '-U', 'app', '-n', '-f', join(folder, 'script.sql')];
  const load = ['-c', String(CLIENTS), '-j', '2', '-T', String(SECONDS), '-D', 'n=0', '-D', `run=${run}`];
  const prefix = join(folder, `log-${run}`);
  const child = spawn(path, [...own, ...load, '--log', `--log-prefix=${prefix}`, 'app'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const chunks: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((done, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      const files = readdirSync(folder).filter((name) => name.startsWith(`log-${run}.`));
      // A file for each thread, and each client in one of them.
      const log = files.flatMap((name) => parsePgbenchLog(readFileSync(join(folder, name), 'utf8')));
      done({ run, log, code, output: Buffer.concat(chunks).toString(), endedMs: Date.now() });
    });
  });
}
