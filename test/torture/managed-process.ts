import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

export interface ManagedOptions {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
  /** It ended, and nobody here had a hand in it. */
  readonly onUnexpectedEnd: (name: string, how: string) => void;
}

const RESTART_MS = 300;

/** A process that is started again whenever it ends, as a service manager does, unless it is to stay down. */
export class ManagedProcess {
  readonly name: string;
  readonly #options: ManagedOptions;
  #child: ChildProcess | null = null;
  #wanted = false;
  #expected = false;
  #timer: NodeJS.Timeout | undefined;
  /** Everyone who wants it down for a while. */
  #downs = 0;

  constructor(options: ManagedOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Null while it does not run. */
  get pid(): number | null {
    const child = this.#child;
    return child === null || child.exitCode !== null || child.signalCode !== null ? null : (child.pid ?? null);
  }

  start(): void {
    this.#wanted = true;
    this.#launch();
  }

  /** SIGKILL, and started again when `release` has been called as often as this. */
  holdDown(): void {
    this.#downs += 1;
    this.signal('SIGKILL');
  }

  release(): void {
    this.#downs -= 1;
    if (this.#downs === 0) this.#launch();
  }

  /** One that ends it is expected. A process that is gone is no error. */
  signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL') this.#expected = true;
    if (this.pid !== null) this.#child?.kill(signal);
  }

  /** For good. A stopped process dies by it too. */
  async end(): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null || this.pid === null) return;
    const ended = new Promise((done) => child.once('exit', done));
    this.signal('SIGKILL');
    await ended;
  }

  #launch(): void {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.#downs > 0 || this.pid !== null) return;
    const { name, command, logFile, env, onUnexpectedEnd } = this.#options;
    const log = openSync(logFile, 'a');
    const [program, ...args] = command;
    this.#expected = false;
    // A process group of its own: Ctrl-C is for us, and we end it.
    const child = spawn(program, args, {
      stdio: ['ignore', log, log],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(log);
    this.#child = child;
    child.on('error', (error) => onUnexpectedEnd(name, error.message));
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      if (this.#wanted && !this.#expected) onUnexpectedEnd(name, signal ?? `exit code ${code}`);
      this.#timer = setTimeout(() => this.#launch(), RESTART_MS);
    });
  }
}
