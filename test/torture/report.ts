import type { Violation } from './checker.ts';
import type { Nemesis, RoundOutcome, Struck } from './nemesis.ts';
import type { Observer } from './observer.ts';
import type { Recorder } from './recorder.ts';
import type { TortureOptions } from './run.ts';

/** What a run did and found, as data; `printReport` says it to people. */
export interface TortureReport {
  readonly passed: boolean;
  readonly seed: number;
  readonly minutes: number;
  readonly ttlMs: number;
  /** What this machine does not allow, with the reason. */
  readonly leftOut: readonly string[];
  readonly rounds: number;
  /** Strikes of each kind, and how long writes then stood still at most, in ms. */
  readonly faults: Readonly<
    Record<string, { readonly strikes: number; readonly failed: number; readonly stallMs: Distribution }>
  >;
  readonly term: number;
  readonly elections: Readonly<Record<string, number>>;
  readonly clients: Recorder['counts'];
  readonly readsServed: Readonly<Record<string, number>>;
  readonly sqlStates: Readonly<Record<string, number>>;
  readonly errorTexts: Readonly<Record<string, readonly string[]>>;
  /** Longest time without an acknowledged write, round by round; and from the end of the last fault until all was whole. */
  readonly stallMs: Distribution;
  readonly recoveryMs: Distribution;
  readonly violations: readonly Violation[];
  readonly problems: readonly string[];
}

export interface Distribution {
  readonly count: number;
  readonly median: number;
  readonly p90: number;
  readonly worst: number;
}

export function makeReport(parts: {
  readonly options: TortureOptions;
  readonly leftOut: readonly string[];
  readonly recorder: Recorder;
  readonly nemesis: Nemesis;
  readonly observer: Observer;
  readonly violations: readonly Violation[];
}): TortureReport {
  const { options, leftOut, recorder, nemesis, observer, violations } = parts;
  const problems = [...recorder.faults, ...observer.violations];
  if (recorder.counts.acknowledged === 0) problems.push('no write was acknowledged: nothing was tested');
  const stalls = nemesis.rounds.map((round) => longestGap(recorder.acknowledgedMs, round.startMs, endOf(round)));
  const { seed, minutes, ttlMs } = options;
  return {
    passed: violations.length === 0 && problems.length === 0,
    seed,
    minutes,
    ttlMs,
    leftOut,
    rounds: nemesis.rounds.length,
    faults: byFault(nemesis.struck, stalls),
    term: observer.term,
    elections: observer.elections,
    clients: recorder.counts,
    readsServed: Object.fromEntries(recorder.readsServed),
    sqlStates: Object.fromEntries([...recorder.sqlStates].sort(([, a], [, b]) => b - a)),
    errorTexts: Object.fromEntries([...recorder.errorTexts].map(([state, texts]) => [state, [...texts]])),
    stallMs: distribution(stalls),
    recoveryMs: distribution(
      nemesis.rounds.flatMap(({ healedMs, recoveredMs }) => (recoveredMs === null ? [] : [recoveredMs - healedMs])),
    ),
    violations,
    problems,
  };
}

export function printReport(report: TortureReport): string {
  const { clients, stallMs, recoveryMs } = report;
  const pairs = (record: Readonly<Record<string, number>>): string =>
    Object.entries(record)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  const faults = Object.entries(report.faults).map(
    ([name, { strikes, failed, stallMs: stall }]) =>
      `  ${name.padEnd(22)}${String(strikes).padStart(4)}${failed > 0 ? ` (${failed} failed)` : ''}   ${spread(stall)}`,
  );
  const shown = report.violations.slice(0, 20).map(({ rule, text }) => `  ${rule}: ${text}`);
  return [
    `seed ${report.seed}, ${report.minutes} min, TTL ${report.ttlMs} ms${report.leftOut.length === 0 ? '' : `; left out: ${report.leftOut.join(', ')}`}`,
    `${report.rounds} rounds of faults; strikes, and the longest stall of all writes in their rounds:`,
    ...faults,
    `term ${report.term}; elections: ${pairs(report.elections)}`,
    `writes: ${clients.acknowledged} acknowledged, ${clients.refused} refused, ${clients.unknown} unknown; ${clients.reads} reads (by server: ${pairs(report.readsServed)}), ${clients.readErrors} refused or lost; ${clients.connections} connections, ${clients.moves} sessions carried to the other proxy`,
    `errors: ${pairs(report.sqlStates)}`,
    ...Object.entries(report.errorTexts).flatMap(([state, texts]) => texts.map((text) => `  ${state}: ${text}`)),
    `longest stall of a round: ${spread(stallMs)}`,
    `from the last heal until all was whole: ${spread(recoveryMs)}`,
    ...report.problems.map((text) => `PROBLEM ${text}`),
    report.violations.length === 0 ? 'no violation' : `${report.violations.length} VIOLATIONS`,
    ...shown,
    report.passed ? 'passed' : `FAILED (seed ${report.seed})`,
  ].join('\n');
}

/** The longest time between two of the ascending moments, within [from, to]; the ends count as moments. */
export function longestGap(moments: readonly number[], from: number, to: number): number {
  let longest = 0;
  let last = from;
  for (const moment of moments) {
    if (moment <= from) continue;
    if (moment >= to) break;
    longest = Math.max(longest, moment - last);
    last = moment;
  }
  return Math.max(longest, to - last);
}

export function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return { count: sorted.length, median: at(0.5), p90: at(0.9), worst: at(1) };
}

function byFault(struck: readonly Struck[], stalls: readonly number[]): TortureReport['faults'] {
  const names = [...new Set(struck.map(({ fault }) => fault.name))].sort();
  return Object.fromEntries(
    names.map((name) => {
      const own = struck.filter(({ fault }) => fault.name === name);
      const stallsOf = own.flatMap(({ round }) => stalls[round - 1] ?? []);
      return [
        name,
        {
          strikes: own.length,
          failed: own.filter(({ failed }) => failed !== null).length,
          stallMs: distribution(stallsOf),
        },
      ];
    }),
  );
}

function endOf({ healedMs, recoveredMs }: RoundOutcome): number {
  return recoveredMs ?? healedMs;
}

function spread({ count, median, p90, worst }: Distribution): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
  return count === 0 ? '–' : `median ${seconds(median)}, 90 % ${seconds(p90)}, worst ${seconds(worst)}`;
}
