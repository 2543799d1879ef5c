import type { ShadowRow } from '../session/shadow.ts';
import { ints, texts } from './columns.ts';
import type { ShowCommand } from './tables.ts';

export const SHADOW: ShowCommand = {
  help: 'shadow mode: what reads would have gone to followers, waited, or been stale with a naive split',
  columns: [
    ...texts('database', 'user'),
    ...ints('reads', 'follower_at_once', 'follower_after_wait', 'leader', 'no_follower'),
    ...texts('wait_avg_ms', 'wait_max_ms'),
    ...ints('naive_stale'),
    ...texts('stale_avg_ms', 'stale_max_ms'),
    ...ints('unmeasured'),
  ],
  rows: (providers) => providers.shadow().map((row) => ({ ...row, ...averages(row) })),
};

function averages(row: ShadowRow): Record<string, number | null> {
  const { follower_after_wait: waited, naive_stale: stale } = row;
  return {
    wait_avg_ms: waited === 0 ? null : row.wait_total_ms / waited,
    stale_avg_ms: stale === 0 ? null : row.stale_total_ms / stale,
  };
}
