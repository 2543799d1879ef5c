import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, copyFileSync, fchownSync, openSync, readSync, renameSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeLayout } from './files.ts';
import type { RunAs } from './identity.ts';
import { findProcesses, killAllProcesses, readPostmasterPid, sendSignal } from './processes.ts';
import { programEnvironment } from './programs.ts';

const LOG_MAX_BYTES = 16 * 1024 * 1024;
const LOG_CHECK_MS = 60_000;
/** A fault of a setting is told in a LOG line before the FATAL one. */
const COMPLAINT =
  /\b(FATAL|PANIC|HINT|DETAIL):|\bLOG: .*(unrecognized|syntax error|invalid value|could not|requires)|^postgres: /;
/** How long the postmaster gets to end its children after SIGQUIT before they are killed. */
const IMMEDIATE_GRACE_MS = 1000;

/** The postmaster that this agent started: its process, its log, its end. */
export class Postmaster {
  readonly #layout: NodeLayout;
  readonly #user: RunAs;
  #child: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();
  #logStart = 0;

  constructor(layout: NodeLayout, user: RunAs) {
    this.#layout = layout;
    this.#user = user;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts it in a session of its own, so that a terminal's Ctrl-C or hang-up does not reach it. */
  spawn(binDir: string, args: readonly string[], onExit: () => void): void {
    rotateLog(this.#layout.logFile);
    const log = openSync(this.#layout.logFile, 'a', 0o600);
    if (this.#user.switchUser) fchownSync(log, this.#user.uid, this.#user.gid);
    this.#logStart = statSync(this.#layout.logFile).size;
    const child = spawn(join(binDir, 'postgres'), [...args], {
      cwd: this.#layout.sideDir,
      env: programEnvironment(process.env, this.#layout.sideDir),
      detached: true,
      stdio: ['ignore', log, log],
      ...(this.#user.switchUser ? { uid: this.#user.uid, gid: this.#user.gid } : {}),
    });
    closeSync(log);
    this.#child = child;
    const logTimer = setInterval(() => trimLog(this.#layout.logFile), LOG_CHECK_MS).unref();
    this.#exited = new Promise((resolve) => {
      const ended = () => {
        clearInterval(logTimer);
        if (this.#child === child) this.#child = null;
        resolve();
        onExit();
      };
      child.once('exit', ended);
      child.once('error', () => {
        if (child.pid === undefined) ended();
      });
    });
  }

  signal(signal: NodeJS.Signals): void {
    if (this.pid !== null) sendSignal(this.pid, signal);
  }

  /** SIGINT (fast) or SIGQUIT (immediate), then until nothing of the server is left. */
  async stop(mode: 'fast' | 'immediate', signal: AbortSignal): Promise<void> {
    if (this.#child !== null) {
      this.signal(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
      const grace = mode === 'fast' ? signal : AbortSignal.any([signal, AbortSignal.timeout(IMMEDIATE_GRACE_MS)]);
      await this.#waitForExit(grace);
      if (this.#child !== null) signal.throwIfAborted();
    }
    await this.killAll();
  }

  /** SIGKILL to whatever is left of the server in the data directory; resolves when nothing is. */
  async killAll(): Promise<{ readonly foundAny: boolean }> {
    this.signal('SIGKILL');
    const result = await killAllProcesses(this.#layout.dataDir, this.#user.uid);
    await this.#exited;
    return result;
  }

  /**
   * Ends a server that an earlier agent left running here, and programs that it left unfinished: this agent was not
   * there to watch them, so nothing is built on them. SIGQUIT first: it lets the postmaster tell its clients.
   */
  async expelStrangers(signal: AbortSignal): Promise<{ readonly foundAny: boolean }> {
    if (this.#child !== null) return { foundAny: false };
    const folders = [this.#layout.dataDir, this.#layout.sideDir];
    const found = findProcesses(folders, this.#user.uid);
    if (found.length === 0) return { foundAny: false };
    const postmaster = readPostmasterPid(this.#layout.dataDir);
    if (found.some((one) => one.pid === postmaster)) sendSignal(postmaster as number, 'SIGQUIT');
    const until = performance.now() + IMMEDIATE_GRACE_MS;
    while (performance.now() < until && findProcesses([this.#layout.dataDir], this.#user.uid).length > 0) {
      await sleep(10, undefined, { signal });
    }
    for (const one of findProcesses(folders, this.#user.uid)) sendSignal(one.pid, 'SIGKILL');
    await killAllProcesses(this.#layout.dataDir, this.#user.uid);
    return { foundAny: true };
  }

  /** Why it would not start: the FATAL and PANIC lines that it wrote since it was started. */
  complaints(): string {
    const text = readTail(this.#layout.logFile, this.#logStart);
    const lines = text.split('\n').filter((line) => COMPLAINT.test(line));
    return lines
      .map((line) => line.replace(/^.*?((LOG|FATAL|PANIC|HINT|DETAIL):)/, '$1'))
      .slice(-6)
      .join(' | ');
  }

  async #waitForExit(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let stop: (() => void) | undefined;
    const aborted = new Promise<void>((resolve) => {
      stop = resolve;
      signal.addEventListener('abort', resolve as () => void, { once: true });
    });
    await Promise.race([this.#exited, aborted]);
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}

function rotateLog(file: string): void {
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > LOG_MAX_BYTES) renameSync(file, `${file}.1`);
}

/** The server holds the file open for appending, so it is copied away and cut, not renamed. */
function trimLog(file: string): void {
  try {
    if (statSync(file).size <= LOG_MAX_BYTES) return;
    copyFileSync(file, `${file}.1`);
    truncateSync(file);
  } catch {
    // A full disk must not end the agent; the next round tries again.
  }
}

function readTail(file: string, from: number): string {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const buffer = Buffer.alloc(32768);
      const start = Math.max(from, statSync(file).size - buffer.length);
      return buffer.subarray(0, readSync(descriptor, buffer, 0, buffer.length, start)).toString();
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return '';
  }
}
