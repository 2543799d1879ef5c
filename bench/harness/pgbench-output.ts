import { percentileOf } from './statistics.ts';

/** One line of `pgbench -P`. */
export interface Progress {
  /** Since the clients had connected. */
  readonly seconds: number;
  /** In the time since the line before. */
  readonly perSecond: number;
}

/** `progress: 2.0 s, 27003.1 tps, lat 2.1 ms stddev 0.4, 0 failed`; null for any other line. */
export function parseProgress(line: string): Progress | null {
  const found = /^progress: ([\d.]+) s, ([\d.]+) tps/.exec(line);
  return found === null ? null : { seconds: Number(found[1]), perSecond: Number(found[2]) };
}

/** Milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/**
 * What `pgbench --log` wrote: client, transaction, µs, script, and the moment as seconds and µs. Transactions that ended
 * before `fromMs` (of the wall clock, as pgbench notes it) are left out: they belong to the start. Null when none is left.
 * https://www.postgresql.org/docs/current/pgbench.html#id-1.9.4.11.9.6 ("Per-Transaction Logging")
 */
export function parseLatency(logs: readonly string[], fromMs: number): Latency | null {
  const found: number[] = [];
  for (const log of logs) {
    for (const line of log.split('\n')) {
      const fields = line.split(' ');
      const us = Number(fields[2]); // NaN where it says "failed" or "skipped"
      if (fields.length < 6 || Number.isNaN(us)) continue;
      if (Number(fields[4]) * 1000 + Number(fields[5]) / 1000 >= fromMs) found.push(us);
    }
  }
  if (found.length === 0) return null;
  const sorted = Float64Array.from(found).sort();
  const at = (share: number): number => percentileOf(sorted, share) / 1000;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

/** The rate over the whole run, which it tells at its end. */
export function parseRate(output: string): number | null {
  const found = /^tps = ([\d.]+) \((?:without initial connection time|including)/m.exec(output);
  return found === null ? null : Number(found[1]);
}

/** What it says at its end that a comparison must not hide. */
export function parseFailures(output: string): { readonly failed: number; readonly aborted: boolean } {
  const failed = Number(/^number of failed transactions: (\d+)/m.exec(output)?.[1] ?? 0);
  return { failed, aborted: /client \d+ (script \d+ )?aborted|Run was aborted/.test(output) };
}
