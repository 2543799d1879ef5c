import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseholdError } from '../../common/errors.ts';
import type { ApiClient, ClusterStatus } from '../api-client.ts';
import { Canary } from '../drill/canary.ts';
import { buildReport, reportText } from '../drill/report.ts';
import { formatMs } from '../format/table.ts';
import { type ApiOptions, DEFAULT_DSN, openApi, print, stopSignal } from './context.ts';

export interface DrillOptions extends ApiOptions {
  readonly dsn?: string;
  readonly yes?: boolean;
  readonly json?: boolean;
  /** Seconds that the old leader has to come back. */
  readonly timeout: number;
}

/** Before the crash: what "normal" looks like. */
const WARM_UP_MS = 1500;
/** After writes resumed: a second stall would show. */
const AFTER_MS = 2000;
const RESUME_LIMIT_MS = 60_000;

/**
 * Kills the leader's PostgreSQL while a canary writes and reads, and reports what it saw. Returns the exit code:
 * 0 when no acknowledged write is missing, writes resumed and the old leader came back as a follower.
 */
export async function drillCrashCommand(options: DrillOptions): Promise<number> {
  const api = openApi(options);
  const dsn = options.dsn ?? process.env['LEASEHOLD_DSN'] ?? DEFAULT_DSN;
  const signal = stopSignal();
  const before = await api.status(signal);
  const leader = before.leader?.node;
  if (leader === undefined)
    throw new LeaseholdError('DRILL', 'the cluster has no leader: nothing to kill. See "leasehold status"');
  await confirm(options, `kill PostgreSQL of ${leader}, the leader of cluster ${before.cluster}?`);
  const say = (line: string) => void (options.json ? process.stderr.write(`${line}\n`) : print(line));

  const canary = new Canary(dsn);
  try {
    await canary.start();
  } catch (error) {
    const reason = (error as Error).message || (error as { code?: string }).code;
    throw new LeaseholdError(
      'DRILL',
      `the canary cannot use ${withoutPassword(dsn)}: ${reason}. Name the proxy with --dsn or LEASEHOLD_DSN`,
      error,
    );
  }
  try {
    await sleep(WARM_UP_MS, undefined, { signal });
    say(`canary: ${canary.acknowledged} writes acknowledged; killing PostgreSQL of ${leader} …`);
    const crashedAtMs = performance.now();
    await api.post('/drill/crash', { node: leader }, signal);
    await awaitResumption(canary, crashedAtMs, say, signal);
    const backAtMs = await awaitReturn(api, leader, before, options.timeout * 1000, signal);
    await sleep(Math.max(0, AFTER_MS - (performance.now() - crashedAtMs)), undefined, { signal });
    const after = await api.status(signal).catch(() => null);
    const newLeader = after?.leader?.node ?? null;
    const report = buildReport({
      crashedNode: leader,
      newLeader,
      crashedAtMs,
      backAtMs,
      canary: await canary.finish(),
    });
    print(options.json ? JSON.stringify(report, null, 2) : `\n${reportText(report)}`);
    return report.passed ? 0 : 1;
  } catch (error) {
    await canary.remove();
    throw error;
  }
}

async function confirm(options: DrillOptions, question: string): Promise<void> {
  if (options.yes) return;
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new LeaseholdError('USAGE', 'a drill kills a running PostgreSQL: without a terminal to ask at, say --yes');
  }
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await prompt.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new LeaseholdError('USAGE', 'nothing was done');
  } finally {
    prompt.close();
  }
}

async function awaitResumption(
  canary: Canary,
  crashedAtMs: number,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const deadline = crashedAtMs + RESUME_LIMIT_MS;
  // The crash takes a moment: a write may still be acknowledged by the old leader right after it was asked for.
  await sleep(500, undefined, { signal });
  while (performance.now() < deadline) {
    const resumedMs = canary.firstAcknowledgedAfter(crashedAtMs + 400);
    if (resumedMs !== null) {
      say(`writes go on ${formatMs(resumedMs - crashedAtMs)} or less after the kill was asked for`);
      return;
    }
    await sleep(50, undefined, { signal });
  }
  say(`writes did not resume within ${RESUME_LIMIT_MS / 1000} s`);
}

/** When the old leader follows again (or leads again, where nobody else could); null: not in time. */
async function awaitReturn(
  api: ApiClient,
  node: string,
  before: ClusterStatus,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number | null> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    const now = await api.status(signal).catch(() => null);
    const isNewTerm = (now?.term ?? 0) > (before.term ?? 0);
    const old = now?.nodes.find((candidate) => candidate.node === node);
    if (isNewTerm && old !== undefined) {
      if (old.role === 'follower' && old.usable) return performance.now();
      if (now?.leader?.node === node && now.writable) return performance.now();
    }
    await sleep(200, undefined, { signal });
  }
  return null;
}

function withoutPassword(dsn: string): string {
  return dsn.replace(/(:\/\/[^:@/]*):[^@/]*@/, '$1:***@');
}
