import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';

export interface PgbenchResult {
  readonly code: number | null;
  readonly output: string;
  /** "number of transactions actually processed" */
  readonly processed: number;
  readonly failed: number;
  /** Clients that gave up. */
  readonly abortedClients: number;
  /** SQLSTATE-less error lines, for a message. */
  readonly errors: readonly string[];
}

/** A PostgreSQL client program (psql, pgbench) of the installation under test. */
export function clientProgram(name: string): { readonly path: string; readonly env: NodeJS.ProcessEnv } {
  const binDir = process.env['LEASEHOLD_PG_BIN'];
  const libDir = process.env['LEASEHOLD_PG_LIB'];
  return {
    path: binDir === undefined ? name : join(binDir, name),
    env: { ...process.env, PGPASSWORD: 'app', ...(libDir === undefined ? {} : { LD_LIBRARY_PATH: libDir }) },
  };
}

/** Runs pgbench as app on the database app; resolves when it ends, whatever its exit code. */
export function pgbench(port: number, args: readonly string[]): Promise<PgbenchResult> {
  const { path, env } = clientProgram('pgbench');
  const child = spawn(path, ['-h', '127.0.0.1', '-p', String(port), '-U', 'app', ...args, 'app'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((done, reject) => {
    child.once('error', reject);
    child.once('close', (code) => done(resultOf(code, Buffer.concat(chunks).toString())));
  });
}

export async function initialisePgbench(port: number, scale: number): Promise<void> {
  const result = await pgbench(port, ['-i', '-q', '-s', String(scale)]);
  assert.equal(result.code, 0, result.output);
}

function resultOf(code: number | null, output: string): PgbenchResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1] ?? 0);
  const errors = output.split('\n').filter((line) => /error|FATAL/i.test(line));
  return {
    code,
    output,
    processed: number(/number of transactions actually processed: (\d+)/),
    failed: number(/number of failed transactions: (\d+)/),
    abortedClients: errors.filter((line) => /client \d+ (script \d+ )?aborted/.test(line)).length,
    errors,
  };
}
