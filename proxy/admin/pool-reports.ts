import { POOLS } from './tables-pools.ts';
import type { AdminProviders } from './types.ts';

/** The pools of a database and user in `/status`; times in milliseconds. */
export interface PoolReport {
  readonly database: string;
  readonly user: string;
  readonly clientsActive: number;
  readonly clientsWaiting: number;
  readonly serversActive: number;
  readonly serversIdle: number;
  readonly serversPinned: number;
  readonly longestWaitMs: number;
  readonly paused: boolean;
}

/** More than a page can show. */
const MAX_POOLS = 50;

/** Those in which most clients wait first, then the busiest. */
export function poolReports(providers: AdminProviders): PoolReport[] {
  return POOLS.rows(providers)
    .map((row) => ({
      database: String(row['database']),
      user: String(row['user']),
      clientsActive: Number(row['cl_active']),
      clientsWaiting: Number(row['cl_waiting']),
      serversActive: Number(row['sv_active']),
      serversIdle: Number(row['sv_idle']),
      serversPinned: Number(row['sv_pinned']),
      longestWaitMs: Number(row['maxwait']) * 1000 + Number(row['maxwait_us']) / 1000,
      paused: row['paused'] === true,
    }))
    .sort((a, b) => b.clientsWaiting - a.clientsWaiting || b.serversActive - a.serversActive)
    .slice(0, MAX_POOLS);
}
