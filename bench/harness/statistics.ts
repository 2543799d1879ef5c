/** Of some rounds of one figure. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Null for no figures. */
export function spreadOf(figures: readonly number[]): Spread | null {
  const sorted = [...figures].sort((a, b) => a - b);
  const least = sorted[0];
  const most = sorted.at(-1);
  if (least === undefined || most === undefined) return null;
  return { median: medianOf(sorted), least, most };
}

/**
 * The ratio of two sides that were measured in turn: of each round's two figures, so that what burdened the machine in a
 * round burdened both. Rounds that one side lacks are left out.
 */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): Spread | null {
  const ratios: number[] = [];
  for (const [round, figure] of ours.entries()) {
    const other = theirs[round];
    if (other !== undefined && other > 0) ratios.push(figure / other);
  }
  return spreadOf(ratios);
}

/** By nearest rank; `sorted` ascending and not empty, `share` such as 0.99. */
export function percentileOf(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  return sorted[Math.min(rank, sorted.length) - 1] ?? Number.NaN;
}

function medianOf(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
