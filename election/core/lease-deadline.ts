import type { CoreConfig } from './types.ts';

/** ELECTION.md, "Timings": a keep-alive every 500 ms with a deadline of 350 ms. */
export const RENEW_EVERY_MS = 500;
export const RENEW_TIMEOUT_MS = 350;
/** Before the deadline: no longer leader, PostgreSQL gets SIGQUIT … */
export const FENCE_BEFORE_MS = 600;
/** … and SIGKILL. */
export const KILL_BEFORE_MS = 200;

/**
 * S2: until when this node may act as leader, on its own clock. A renewal counts from when its request was *sent*,
 * and only if the keep-alive and a write guarded by the leader key's create revision both succeeded.
 */
export function leaseDeadline(
  config: Pick<CoreConfig, 'ttlMs' | 'marginMs'>,
  held: { readonly keptAtMs: number; readonly guardedAtMs: number },
): number {
  return Math.min(held.keptAtMs, held.guardedAtMs) + config.ttlMs - config.marginMs;
}

/** Whether a lease granted at `sentAtMs` is fresh enough to run for leadership with. */
export function leaseIsFresh(config: Pick<CoreConfig, 'ttlMs'>, sentAtMs: number, nowMs: number): boolean {
  return nowMs - sentAtMs < Math.min(1000, config.ttlMs / 4);
}
