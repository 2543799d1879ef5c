import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import type { TestResult } from './suite.ts';
import { postgresEnv } from './targets.ts';

export interface ClientRun {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** Where its `<name>-<first step>.log` goes. */
  readonly output: string;
  /** The program finds a file named after a change here when that is over. */
  readonly signals: string;
  readonly steps: readonly string[];
  readonly timeoutMs: number;
}

/** A client's program at work: prints `ready-for CHANGE`, and for each step `ok NAME`, `not ok NAME - why`, `skip NAME - why`. */
export class ClientProcess {
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #lines: string[] = [];
  readonly #results: Promise<readonly TestResult[]>;
  #partial = '';
  #said = '';
  #isOver = false;
  #onLine = (): void => {};

  constructor(run: ClientRun) {
    this.#log = createWriteStream(join(run.output, `${run.name}-${run.steps[0]}.log`));
    const [program, ...args] = run.command;
    this.#child = spawn(program, [...args, run.name, run.signals, ...run.steps], {
      cwd: run.cwd,
      env: { ...postgresEnv(), ...run.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: run.timeoutMs,
      killSignal: 'SIGKILL',
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
      this.#log.write(text);
    });
    this.#results = new Promise((resolve) => {
      const finish = (how: string): void => {
        if (this.#isOver) return;
        this.#isOver = true;
        this.#onLine();
        this.#log.end(() => resolve(parseClient(run.name, run.steps, this.#lines, `${how} ${this.#said}`.trim())));
      };
      this.#child.once('error', (error) => finish(String(error)));
      this.#child.once('close', (code, signal) => finish(`the program ended with ${signal ?? code}.`));
    });
  }

  /** A result for each step, when the program has ended. Never rejects. */
  get results(): Promise<readonly TestResult[]> {
    return this.#results;
  }

  /** Until it writes through the change that comes, or has ended. */
  ready(change: string): Promise<void> {
    return new Promise((resolve) => {
      this.#onLine = () => {
        if (this.#isOver || this.#lines.includes(`ready-for ${change}`)) resolve();
      };
      this.#onLine();
    });
  }

  #take(text: string): void {
    this.#log.write(text);
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    this.#lines.push(...lines);
    this.#onLine();
  }
}

/** What a program's lines say of each step. A step of which nothing was said has failed, with `ending` as the reason. */
export function parseClient(
  client: string,
  steps: readonly string[],
  lines: readonly string[],
  ending: string,
): readonly TestResult[] {
  const said = new Map<string, Omit<TestResult, 'test'>>();
  for (const line of lines) {
    const [, verdict, step, detail] = /^(ok|not ok|skip) (\S+)(?: - (.*))?$/.exec(line) ?? [];
    if (verdict === undefined || step === undefined) continue;
    const outcome = verdict === 'ok' ? 'passed' : verdict === 'skip' ? 'skipped' : 'failed';
    said.set(step, { outcome, detail: detail ?? '' });
  }
  return steps.map((step) => {
    const result = said.get(step) ?? { outcome: 'failed' as const, detail: ending };
    return { test: `${client} ${step}`, ...result };
  });
}
