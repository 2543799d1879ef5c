import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { asPostgres, postgresEnv } from './targets.ts';
import type { Target } from './suite.ts';

export interface LoggedOptions {
  /** Also the working folder; the output goes to `<name>.log` there. */
  readonly folder: string;
  readonly name: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly timeoutMs?: number;
}

export interface LoggedResult {
  /** Null when a signal ended it, as after the time-out. */
  readonly code: number | null;
  readonly stdout: string;
  /** Both streams, as in the file. */
  readonly output: string;
}

const TIMEOUT_MS = 540_000;

/** Runs a program as PostgreSQL's user, with its output in a file too. Never throws for its failure. */
export function runLogged(program: string, args: readonly string[], options: LoggedOptions): Promise<LoggedResult> {
  const { folder, name } = options;
  const log = createWriteStream(join(folder, `${name}.log`));
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...postgresEnv(), ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? TIMEOUT_MS,
    ...asPostgres(),
  });
  let stdout = '';
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    output += text;
    log.write(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    log.write(text);
  });
  child.stdin.on('error', () => {}); // it may end before it has read everything
  child.stdin.end(options.input ?? '');
  return new Promise((resolve) => {
    const finish = (code: number | null): void => {
      log.end(() => resolve({ code, stdout, output }));
    };
    child.once('error', (error) => {
      output += String(error);
      finish(null);
    });
    child.once('close', finish);
  });
}

/** libpq's variables for the superuser of a target. */
export function superuserEnv(target: Target, database = 'postgres'): NodeJS.ProcessEnv {
  return {
    PGHOST: target.host,
    PGPORT: String(target.port),
    PGUSER: target.superuser.user,
    PGPASSWORD: target.superuser.password,
    PGDATABASE: database,
  };
}

/** The same for the application's user, without TLS. Its home is the folder of the output: no settings of whoever runs this. */
export function appEnv(target: Target): NodeJS.ProcessEnv {
  return {
    PGHOST: target.host,
    PGPORT: String(target.port),
    PGUSER: target.app.user,
    PGPASSWORD: target.app.password,
    PGDATABASE: target.app.database,
    PGSSLMODE: 'disable',
    HOME: target.output,
  };
}
