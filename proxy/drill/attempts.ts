import type { LaneReport, Series } from './types.ts';

/** One attempt of the canary, in milliseconds of one clock. */
export interface Attempt {
  readonly id: number;
  readonly sentMs: number;
  readonly endedMs: number;
  /** `acknowledged`; else the SQLSTATE, or the system's code (`ECONNRESET`) where the connection broke. */
  readonly outcome: string;
}

/** Outcomes that leave open whether the write was done: a broken connection, and class 08. */
export function isUnknown(outcome: string): boolean {
  return outcome !== 'acknowledged' && (!/^[0-9A-Z]{5}$/.test(outcome) || outcome.startsWith('08'));
}

/** Codes beyond this many are counted together. */
const MAX_CODES = 20;

export function laneReport(attempts: readonly Attempt[], fromMs: number): LaneReport {
  const errors: Record<string, number> = {};
  let done = 0;
  for (const { outcome } of attempts) {
    if (outcome === 'acknowledged') {
      done += 1;
      continue;
    }
    const code = Object.hasOwn(errors, outcome) || Object.keys(errors).length < MAX_CODES ? outcome : 'others';
    errors[code] = (errors[code] ?? 0) + 1;
  }
  return { done, stallMs: longestGap(attempts, fromMs), errors };
}

/**
 * The longest time without a success, among those that ended after `fromMs`, measured from one success to the next.
 * Null when nothing succeeded any more.
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

const MAX_BINS = 300;
const BIN_STEPS_MS = [20, 50, 100, 200, 500, 1000, 2000];

/** Successes and failures in bins, few enough for a picture. */
export function seriesOf(
  writes: readonly Attempt[],
  reads: readonly Attempt[],
  fromMs: number,
  untilMs: number,
): Series {
  const span = Math.max(1, untilMs - fromMs);
  const binMs = BIN_STEPS_MS.find((step) => span / step <= MAX_BINS) ?? Math.ceil(span / MAX_BINS);
  const bins = Math.max(1, Math.ceil(span / binMs));
  const empty = () => Array.from({ length: bins }, () => 0);
  const count = (into: number[], attempts: readonly Attempt[], success: boolean) => {
    for (const { endedMs, outcome } of attempts) {
      const bin = Math.floor((endedMs - fromMs) / binMs);
      if (bin < 0 || bin >= bins || (outcome === 'acknowledged') !== success) continue;
      into[bin] = (into[bin] ?? 0) + 1;
    }
    return into;
  };
  return {
    fromMs,
    binMs,
    writes: count(empty(), writes, true),
    reads: count(empty(), reads, true),
    failed: count(count(empty(), writes, false), reads, false),
  };
}
