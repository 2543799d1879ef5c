import { formatMs } from '../format/table.ts';
import type { Attempt, CanaryResult } from './canary.ts';

export interface DrillFacts {
  readonly crashedNode: string;
  readonly newLeader: string | null;
  readonly crashedAtMs: number;
  /** When the crashed node was a follower again; null: not within the time given. */
  readonly backAtMs: number | null;
  readonly canary: CanaryResult;
}

export interface DrillReport {
  readonly crashedNode: string;
  readonly newLeader: string | null;
  /** From the last write acknowledged before the gap to the next one: what an application waits. Null: never resumed. */
  readonly writeStallMs: number | null;
  readonly longestReadMs: number;
  readonly acknowledged: number;
  readonly missing: number;
  readonly refusedFound: number;
  readonly unknownFound: number;
  /** SQLSTATE or system code to how often, writes and reads. */
  readonly writeErrors: Readonly<Record<string, number>>;
  readonly readErrors: Readonly<Record<string, number>>;
  readonly reconnects: number;
  readonly backMs: number | null;
  readonly passed: boolean;
}

export function buildReport(facts: DrillFacts): DrillReport {
  const { canary } = facts;
  const writeStallMs = longestGap(canary.writes, facts.crashedAtMs);
  return {
    crashedNode: facts.crashedNode,
    newLeader: facts.newLeader,
    writeStallMs,
    longestReadMs: longestGap(canary.reads, facts.crashedAtMs) ?? Infinity,
    acknowledged: canary.writes.filter((write) => write.outcome === 'acknowledged').length,
    missing: canary.missing.length,
    refusedFound: canary.refusedFound.length,
    unknownFound: canary.unknownFound,
    writeErrors: countErrors(canary.writes),
    readErrors: countErrors(canary.reads),
    reconnects: canary.reconnects,
    backMs: facts.backAtMs === null ? null : facts.backAtMs - facts.crashedAtMs,
    passed:
      canary.missing.length === 0 &&
      canary.refusedFound.length === 0 &&
      writeStallMs !== null &&
      facts.backAtMs !== null,
  };
}

/**
 * The longest time without a success, among those that ended after `fromMs`, measured from one success to the next.
 * Null when nothing succeeded any more. Exported for its test.
 */
export function longestGap(attempts: readonly Attempt[], fromMs: number): number | null {
  let previous: number | null = null;
  let longest: number | null = null;
  for (const { endedMs, outcome } of attempts) {
    if (outcome !== 'acknowledged') continue;
    if (endedMs > fromMs) longest = Math.max(longest ?? 0, endedMs - (previous ?? fromMs));
    previous = endedMs;
  }
  return longest;
}

export function reportText(report: DrillReport): string {
  const stall =
    report.writeStallMs === null
      ? 'writes did NOT resume'
      : `${formatMs(report.writeStallMs)} from the last acknowledged write to the next`;
  const lines: [string, string][] = [
    ['leader', `${report.crashedNode} (killed) → ${report.newLeader ?? 'none'}`],
    ['writes stood still', stall],
    ['reads stood still', `${formatMs(report.longestReadMs)} at most`],
    [
      'acknowledged writes',
      `${report.acknowledged}, looked up one by one: ${report.missing === 0 ? 'all there' : `${report.missing} MISSING`}`,
    ],
    ['errors of writes', errorText(report.writeErrors)],
    ['errors of reads', errorText(report.readErrors)],
    ['connections lost', String(report.reconnects)],
    ['old leader', report.backMs === null ? 'is NOT back yet' : `a follower again after ${formatMs(report.backMs)}`],
  ];
  if (report.unknownFound > 0) lines.splice(4, 0, ['unknown outcomes', `${report.unknownFound} of them were done`]);
  if (report.refusedFound > 0) lines.splice(4, 0, ['refused but there', `${report.refusedFound}: this must not be`]);
  const width = Math.max(...lines.map(([title]) => title.length));
  return [
    ...lines.map(([title, text]) => `${title.padEnd(width)}  ${text}`),
    '',
    report.passed ? 'the drill passed' : 'the drill FAILED',
  ].join('\n');
}

function countErrors(attempts: readonly Attempt[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome } of attempts) {
    if (outcome !== 'acknowledged') counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}

function errorText(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([code, count]) => `${code} × ${count}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}
