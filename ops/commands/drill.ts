import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { userInfo } from 'node:os';
import type { DrillKind } from '../../common/config/drills.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { reportPage } from '../../proxy/drill/page.ts';
import { planText, refusedBy, reportText } from '../../proxy/drill/text.ts';
import type { DrillPlan, DrillReport } from '../../proxy/drill/types.ts';
import type { ApiClient } from '../api-client.ts';
import { type ApiOptions, openApi, print } from './context.ts';
import { EXIT } from './errors.ts';

export interface DrillOptions extends ApiOptions {
  readonly dryRun?: boolean;
  readonly override?: readonly string[];
  readonly to?: string;
  readonly node?: string;
  readonly proxy?: string;
  readonly seconds?: number;
  readonly what?: 'postgres' | 'agent';
  readonly dsn?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
  readonly html?: string;
}

interface Progress {
  readonly state: 'running' | 'done' | 'failed';
  readonly lines: readonly string[];
  readonly report: DrillReport | null;
}

const POLL_MS = 200;
/** A proxy that does not answer for so long in mid-drill is taken to be gone; its report may come to etcd or not. */
const SILENT_LIMIT_MS = 30_000;

/**
 * One drill, run by the proxy that is asked: says what would be done, asks, follows it, prints the report. Ctrl-C asks for its abort and
 * waits for the report; a second one leaves. Returns the exit code: 0 when the drill passed (or the dry run would be let through).
 */
export async function drillCommand(kind: DrillKind, options: DrillOptions): Promise<number> {
  const api = openApi(options);
  const say = (line: string) => void (options.json ? process.stderr.write(`${line}\n`) : print(line));
  const request = requestOf(options);
  const { plan } = (await api.post(`/drill/${kind}`, { ...request, dryRun: true })) as { plan: DrillPlan };
  if (options.dryRun) {
    print(options.json ? JSON.stringify(plan, null, 2) : planText(plan));
    return plan.allowed ? EXIT.ok : EXIT.failed;
  }
  if (!plan.allowed) {
    say(planText(plan).split('\n').slice(0, -1).join('\n'));
    throw new LeaseholdError('DRILL', refusedBy(plan));
  }
  say(planText(plan).split('\n').slice(0, 4).join('\n'));
  await confirm(options, 'go on?');
  const { id } = (await api.post(`/drill/${kind}`, request)) as { id: string };
  const report = await follow(api, id, say);
  if (options.html !== undefined) writePage(options.html, report, say);
  print(options.json ? JSON.stringify(report, null, 2) : `\n${reportText(report)}`);
  return report.outcome === 'passed' ? EXIT.ok : EXIT.failed;
}

export async function drillAbortCommand(options: ApiOptions): Promise<void> {
  const { id } = (await openApi(options).post('/drill/abort', {})) as { id: string };
  print(`asked drill ${id} to end; "leasehold drill show ${id}" tells how it went`);
}

/** What the API is asked. Exported for its test. */
export function requestOf(options: DrillOptions): object {
  const { seconds, what, override = [] } = options;
  const dsn = options.dsn ?? process.env['LEASEHOLD_DSN'];
  const target = options.to ?? options.node ?? options.proxy;
  return {
    ...(target === undefined ? {} : { target }),
    ...(seconds === undefined ? {} : { seconds }),
    ...(what === undefined ? {} : { what }),
    ...(dsn === undefined ? {} : { dsn }),
    override: override.flatMap((names) => names.split(',')),
    by: `${userName()}, command line`,
  };
}

export function writePage(file: string, report: DrillReport, say: (line: string) => void): void {
  writeFileSync(file, reportPage(report));
  say(`the page is in ${file}`);
}

async function confirm(options: DrillOptions, question: string): Promise<void> {
  if (options.yes) return;
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new LeaseholdError('USAGE', 'a drill breaks something that runs: without a terminal to ask at, say --yes');
  }
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await prompt.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new LeaseholdError('USAGE', 'nothing was done');
  } finally {
    prompt.close();
  }
}

async function follow(api: ApiClient, id: string, say: (line: string) => void): Promise<DrillReport> {
  const interrupts = new Interrupts(api, say);
  let shown = 0;
  let heardMs = performance.now();
  try {
    for (;;) {
      try {
        const progress = (await api.get(`/drills/${id}`)) as Progress;
        heardMs = performance.now();
        for (const line of progress.lines.slice(shown)) say(line);
        shown = progress.lines.length;
        if (progress.report !== null) return progress.report;
        if (progress.state === 'failed') {
          throw new LeaseholdError('DRILL', `the drill ended without a report: ${progress.lines.at(-1) ?? 'unknown'}`);
        }
      } catch (error) {
        const silent = error instanceof LeaseholdError && error.code === 'API_UNREACHABLE';
        if (!silent || performance.now() - heardMs > SILENT_LIMIT_MS) throw error;
      }
      await sleep(POLL_MS);
    }
  } finally {
    interrupts.end();
  }
}

/** The first Ctrl-C asks for an abort, the second one leaves. */
class Interrupts {
  readonly #listener: () => void;

  constructor(api: ApiClient, say: (line: string) => void) {
    let asked = false;
    this.#listener = () => {
      if (asked) process.exit(EXIT.interrupted);
      asked = true;
      say('asking for an abort … (Ctrl-C again leaves; the drill then ends by itself)');
      api.post('/drill/abort', {}).catch((error: unknown) => say((error as Error).message));
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, this.#listener);
  }

  end(): void {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(name, this.#listener);
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'somebody'; // a user id without a name
  }
}
