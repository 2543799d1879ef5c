import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../common/clock.ts';
import type { AgentConfig } from '../common/config/schema.ts';
import type { Logger } from '../common/logger.ts';
import { layoutOf } from './postgres/files.ts';
import { identityFor } from './postgres/identity.ts';
import { machineUptimeMs } from './watchdog-clock.ts';

export interface WatchdogOptions {
  readonly agent: AgentConfig;
  /** The agent's clock, in which the deadlines are. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** Stop PostgreSQL at once when the agent dies, instead of leaving a follower running (the local cluster). */
  readonly dieWithAgent: boolean;
}

/**
 * A process of its own that kills PostgreSQL when the agent does not say in time that it still holds the lease:
 * SIGQUIT 500 ms before the deadline, SIGKILL to every process 200 ms before it. It needs neither the agent's clock
 * nor its event loop. When it dies itself it is started again and told the deadline anew.
 */
export interface Watchdog {
  /** Null: nothing to guard (a follower). A deadline in the past kills at once. Never blocks. */
  feed(deadlineMs: number | null): void;
  readonly pid: number | null;
  /** Ends it without touching PostgreSQL. */
  close(): Promise<void>;
}

const RESTART_MS = 200;
const CLOSE_MS = 1000;

export function startWatchdog(options: WatchdogOptions): Watchdog {
  return new ProcessWatchdog(options);
}

class ProcessWatchdog implements Watchdog {
  readonly #options: WatchdogOptions;
  readonly #argument: string;
  #child: ChildProcess | null = null;
  #line = 'null';
  #sent = 'null';
  #closing = false;
  #restart: NodeJS.Timeout | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    const { dataDir } = layoutOf(options.agent.dataDir);
    const { uid } = identityFor(options.agent.postgres.osUser);
    this.#argument = JSON.stringify({ dataDir, uid, dieWithAgent: options.dieWithAgent });
    this.#start();
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  feed(deadlineMs: number | null): void {
    // The shared clock is cut to 10 ms, so the deadline can only come out earlier, never later.
    const line =
      deadlineMs === null ? 'null' : String(machineUptimeMs() + Math.floor(deadlineMs - this.#options.clock.nowMs()));
    if (line === this.#line) return;
    this.#line = line;
    this.#write();
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      child.stdin?.write('close\n');
    });
  }

  #start(): void {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    const main = fileURLToPath(new URL(`./watchdog-main${extension}`, import.meta.url));
    const child = spawn(process.execPath, ['--max-old-space-size=32', main, this.#argument], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#sent = 'null';
    child.stdin.on('error', () => undefined);
    child.stdin.on('drain', () => this.#write());
    createInterface({ input: child.stdout }).on('line', (line) => this.#onReport(line));
    let ended = false;
    const onEnd = () => {
      if (ended) return;
      ended = true;
      this.#child = null;
      if (this.#closing) return;
      this.#options.logger.error({ event: 'watchdog.died' }, 'the watchdog died; it is started again');
      this.#restart = setTimeout(() => this.#start(), RESTART_MS);
    };
    child.once('exit', onEnd);
    child.once('error', onEnd);
    this.#write();
  }

  /**
   * Into the pipe before this returns, unless the watchdog has not read for so long that the pipe is full: then only
   * the newest line is kept for later. The times are absolute, so lateness prolongs nothing.
   */
  #write(): void {
    const stdin = this.#child?.stdin;
    if (stdin === null || stdin === undefined || this.#closing || this.#sent === this.#line) return;
    if (stdin.writableLength > 0) return;
    this.#sent = this.#line;
    stdin.write(`${this.#line}\n`, () => this.#write());
  }

  #onReport(line: string): void {
    if (line === 'quit' || line === 'kill') {
      const what = line === 'quit' ? 'told PostgreSQL to quit' : 'killed PostgreSQL';
      this.#options.logger.warn({ event: `watchdog.${line}` }, `the watchdog ${what}: the lease's deadline has come`);
    }
  }
}
