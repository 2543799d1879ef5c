/** Of the runs of one figure. */
export interface Distribution {
  readonly runs: number;
  readonly least: number;
  readonly median: number;
  /** By nearest rank: a figure that was measured. */
  readonly p90: number;
  readonly most: number;
}

/** Null for no figures. */
export function distributionOf(figures: readonly number[]): Distribution | null {
  const sorted = [...figures].sort((a, b) => a - b);
  const [least] = sorted;
  const most = sorted.at(-1);
  if (least === undefined || most === undefined) return null;
  const rank = Math.max(1, Math.ceil(0.9 * sorted.length));
  return { runs: sorted.length, least, median: medianOf(sorted), p90: sorted[rank - 1] ?? most, most };
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
