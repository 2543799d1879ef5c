import { type ChildProcess, spawn } from 'node:child_process';
import { signalQuietly } from './process-table.ts';

export interface ChildSpec {
  /** `etcd`, `node1`, `proxy1` */
  readonly name: string;
  /** A module for this Node, and its arguments. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Every line of its output. */
  readonly onLine: (line: string) => void;
}

export interface SupervisorEvents {
  /** It ended and will be started again after `delayMs`. */
  readonly onEnded: (name: string, how: string, delayMs: number) => void;
  /** It ended `MAX_QUICK_ENDS` times in a row without having run for a while. It is still tried. */
  readonly onFailing: (name: string, how: string) => void;
  /** The set of running processes changed. */
  readonly onPids: (pids: readonly number[]) => void;
}

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 5000;
/** One that ran this long is taken to have been well. */
const WELL_AFTER_MS = 10_000;
const MAX_QUICK_ENDS = 4;
const MAX_LINE = 64 * 1024;

/**
 * Keeps child processes running: one that ends is started again, later each time. Children have process groups of
 * their own (a Ctrl-C at the terminal reaches only us, who stop them in order) and an IPC channel, whose closing
 * tells them that we are gone.
 */
export class Supervisor {
  readonly #children = new Map<string, Supervised>();
  readonly #events: SupervisorEvents;

  constructor(events: SupervisorEvents) {
    this.#events = events;
  }

  start(spec: ChildSpec): void {
    const child = new Supervised(spec, this.#events, () => this.#events.onPids(this.pids()));
    this.#children.set(spec.name, child);
    child.start();
  }

  pidOf(name: string): number | null {
    return this.#children.get(name)?.pid ?? null;
  }

  /** Every process started here that runs, with those that a leash has started. */
  pids(): number[] {
    return [...this.#children.values()].flatMap((child) => child.pids());
  }

  /** SIGTERM, and SIGKILL for what outlives the time. Resolves when all of them are gone, to the names of those killed. */
  async stop(names: readonly string[], timeoutMs: number, hurry: AbortSignal): Promise<string[]> {
    const killed: string[] = [];
    const stopOne = async (name: string): Promise<void> => {
      if ((await this.#children.get(name)?.stop(timeoutMs, hurry)) === 'killed') killed.push(name);
    };
    await Promise.all(names.map(stopOne));
    return killed;
  }
}

class Supervised {
  readonly #spec: ChildSpec;
  readonly #events: SupervisorEvents;
  readonly #onPids: () => void;
  #process: ChildProcess | null = null;
  #leashedPid: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #quickEnds = 0;
  #startedMs = 0;
  #isStopping = false;
  #onGone: (() => void) | null = null;

  constructor(spec: ChildSpec, events: SupervisorEvents, onPids: () => void) {
    this.#spec = spec;
    this.#events = events;
    this.#onPids = onPids;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  pids(): number[] {
    return [this.pid, this.#leashedPid].filter((pid) => pid !== null);
  }

  start(): void {
    this.#timer = null;
    this.#startedMs = performance.now();
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...this.#spec.args], {
      env: this.#spec.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    });
    this.#process = child;
    child.on('message', (message: { type?: string; pid?: number }) => {
      if (message?.type === 'pid' && typeof message.pid === 'number') this.#leashedPid = message.pid;
      this.#onPids();
    });
    let how = 'could not be started';
    child.on('error', (error) => {
      how = error.message;
      if (child.pid === undefined) this.#ended(how);
    });
    child.on('exit', (code, signal) => {
      how = signal === null ? `exit code ${code}` : `${signal}`;
      this.#ended(how);
    });
    if (child.stdout !== null) splitLines(child.stdout, this.#spec.onLine);
    if (child.stderr !== null) splitLines(child.stderr, this.#spec.onLine);
    this.#onPids();
  }

  async stop(timeoutMs: number, hurry: AbortSignal): Promise<'stopped' | 'killed'> {
    this.#isStopping = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const child = this.#process;
    if (child === null) return 'stopped';
    let killed = false;
    const kill = () => {
      killed = true;
      child.kill('SIGKILL');
      if (this.#leashedPid !== null) signalQuietly(this.#leashedPid, 'SIGKILL');
    };
    await new Promise<void>((resolve) => {
      const timer = setTimeout(kill, timeoutMs);
      hurry.addEventListener('abort', kill, { once: true });
      this.#onGone = () => {
        clearTimeout(timer);
        hurry.removeEventListener('abort', kill);
        resolve();
      };
      if (hurry.aborted) kill();
      else child.kill('SIGTERM');
    });
    return killed ? 'killed' : 'stopped';
  }

  #ended(how: string): void {
    this.#process = null;
    // The leash itself was killed: what it held would go on without anybody.
    if (this.#leashedPid !== null) signalQuietly(this.#leashedPid, 'SIGKILL');
    this.#leashedPid = null;
    this.#onPids();
    this.#onGone?.();
    if (this.#isStopping) return;
    this.#quickEnds = performance.now() - this.#startedMs > WELL_AFTER_MS ? 0 : this.#quickEnds + 1;
    const delayMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, this.#quickEnds - 1));
    this.#timer = setTimeout(() => this.start(), delayMs);
    this.#events.onEnded(this.#spec.name, how, delayMs);
    if (this.#quickEnds >= MAX_QUICK_ENDS) this.#events.onFailing(this.#spec.name, how);
  }
}

/** Calls `onLine` for each line; a line longer than `MAX_LINE` is cut there. */
export function splitLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(0, MAX_LINE);
    for (const line of lines) if (line !== '') onLine(line.slice(0, MAX_LINE));
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
  // A broken pipe ends the stream; the process's exit is told elsewhere.
  stream.on('error', () => {});
}
