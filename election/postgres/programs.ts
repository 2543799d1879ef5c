import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { RunAs } from './identity.ts';
import { PostgresProgramFailed } from './errors.ts';
import { sendSignal } from './processes.ts';

export interface ProgramRun {
  readonly binDir: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly user: RunAs;
  /** Its working directory: the node's side folder, by which a left-over program is found after a crash of the agent. */
  readonly cwd: string;
  readonly signal: AbortSignal;
  /** What it reads from its standard input. */
  readonly input?: string;
}

const MAX_OUTPUT = 65536;
const KILL_AFTER_MS = 2000;

/**
 * Runs one of PostgreSQL's programs to its end and gives its standard output. It gets a process group of its own, so
 * that an abort reaches its helpers too: SIGTERM, and SIGKILL after two seconds.
 */
export function runProgram(run: ProgramRun): Promise<string> {
  run.signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(join(run.binDir, run.program), [...run.args], {
      cwd: run.cwd,
      env: programEnvironment(process.env, run.cwd),
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(run.user.switchUser ? { uid: run.user.uid, gid: run.user.gid } : {}),
    });
    child.stdin.on('error', () => {}); // it may end before it has read everything; its exit tells
    child.stdin.end(run.input ?? '');
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-MAX_OUTPUT);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-MAX_OUTPUT);
    });
    let killTimer: NodeJS.Timeout | undefined;
    const abort = () => {
      if (child.pid === undefined) return;
      sendSignal(-child.pid, 'SIGTERM');
      killTimer = setTimeout(() => sendSignal(-(child.pid as number), 'SIGKILL'), KILL_AFTER_MS);
    };
    run.signal.addEventListener('abort', abort, { once: true });
    const settle = () => {
      clearTimeout(killTimer);
      run.signal.removeEventListener('abort', abort);
    };
    child.once('error', (error) => {
      settle();
      reject(new PostgresProgramFailed(run.program, 'could not be started', error.message));
    });
    child.once('close', (code, signal) => {
      settle();
      if (run.signal.aborted) reject(run.signal.reason as Error);
      else if (code === 0) resolve(output);
      else reject(new PostgresProgramFailed(run.program, `ended with ${signal ?? code}`, tidyOutput(errors)));
    });
  });
}

/**
 * Nothing of the caller's PG… variables may change what a program does; LEASEHOLD_PG_LIB names the libraries of an
 * unpacked installation. Messages in English, since start-up faults are looked for in them.
 */
export function programEnvironment(from: NodeJS.ProcessEnv, home: string): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { LC_ALL: 'C.UTF-8', HOME: home };
  for (const name of ['PATH', 'TZ', 'TMPDIR']) {
    if (from[name] !== undefined) environment[name] = from[name];
  }
  const libraries = from['LEASEHOLD_PG_LIB'] ?? from['LD_LIBRARY_PATH'];
  if (libraries !== undefined) environment['LD_LIBRARY_PATH'] = libraries;
  return environment;
}

function tidyOutput(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .slice(-8)
    .join(' | ');
}
