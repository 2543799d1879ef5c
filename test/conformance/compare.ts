import type { Outcome, Side, TestResult } from './suite.ts';

/** A difference that is known, from `explained.json`; each has its line in README.md too. */
export interface Explained {
  readonly suite: string;
  readonly test: string;
  readonly sides: readonly Side[];
  /** The major versions of PostgreSQL that it is said of; absent: all. */
  readonly postgres?: readonly number[] | undefined;
  readonly why: string;
  /** All that a test of PostgreSQL's suites may print otherwise (`-` direct, `+` proxy): another line is not explained. */
  /** What the test said, where it says it in one line. */
  readonly detail?: string | undefined;
  readonly lines?: readonly string[] | undefined;
  /** Depends on which server happens to serve: it is not outdated where it is not seen. */
  readonly sometimes?: boolean | undefined;
}

export interface Difference {
  readonly test: string;
  readonly side: Side;
  readonly direct: Outcome | 'absent';
  readonly proxy: Outcome | 'absent';
  readonly detail: string;
  readonly why: string | null;
}

export interface Comparison {
  readonly differences: readonly Difference[];
  /** Explained, and not seen any more: the explanation has to go. */
  readonly outdated: readonly Explained[];
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function tally(results: readonly TestResult[]): Tally {
  const count = (outcome: Outcome) => results.filter((result) => result.outcome === outcome).length;
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
}

/** What a side behind the proxy does otherwise than a direct connection. */
export function compare(
  suite: string,
  side: Side,
  direct: readonly TestResult[],
  proxy: readonly TestResult[],
  explained: readonly Explained[],
): Comparison {
  const known = explained.filter((entry) => entry.suite === suite && entry.sides.includes(side));
  const here = new Map(direct.map((result) => [result.test, result]));
  const there = new Map(proxy.map((result) => [result.test, result]));
  const differences: Difference[] = [];
  for (const test of new Set([...here.keys(), ...there.keys()])) {
    const a = here.get(test)?.outcome ?? 'absent';
    const b = there.get(test)?.outcome ?? 'absent';
    if (a === b) continue;
    const detail = (b === 'passed' ? here : there).get(test)?.detail ?? '';
    const why = known.find((entry) => entry.test === test && covers(entry, detail))?.why ?? null;
    differences.push({ test, side, direct: a, proxy: b, detail, why });
  }
  const lasting = known.filter((entry) => entry.sometimes !== true);
  const outdated = lasting.filter((entry) => !differences.some((difference) => difference.test === entry.test));
  return { differences, outdated };
}

function covers({ lines, detail: said }: Explained, detail: string): boolean {
  if (said !== undefined && said !== detail) return false;
  if (lines === undefined) return true;
  const changed = detail.split('\n').filter((line) => /^[-+]./.test(line));
  return changed.every((line) => lines.includes(line));
}

/** The table for people: a line for each suite and side. */
export function renderTable(rows: readonly { suite: string; side: string; tally: Tally; seconds: number }[]): string {
  const header = ['suite', 'side', 'passed', 'failed', 'skipped', 'seconds'];
  const cells = rows.map(({ suite, side, tally: t, seconds }) => [
    suite,
    side,
    ...[t.passed, t.failed, t.skipped].map(String),
    seconds.toFixed(0),
  ]);
  const widths = header.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  return [header, ...cells]
    .map((row) =>
      row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .join('\n');
}
