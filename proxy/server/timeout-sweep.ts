import { Session } from '../session/session.ts';
import { seconds } from '../cluster/lease-confirmation.ts';
import type { SessionContext } from '../session/context.ts';
import { checkAbandoned, checkTimeouts } from '../session/timeouts.ts';
import { endUnconfirmed } from '../session/unconfirmed.ts';

/** Time-outs end late by this much at most. */
const SWEEP_MS = 100;

/** Looks at all sessions from time to time, for what has lasted too long. Returns how to stop that. `ttlMs`: of the leader's lease. */
export function sweepTimeouts(context: SessionContext, sessions: ReadonlySet<Session>, ttlMs: number): () => void {
  let unconfirmedSinceMs = Number.POSITIVE_INFINITY;
  const timer = setInterval(() => {
    const nowMs = context.clock.nowMs();
    for (const session of sessions) checkTimeouts(session, nowMs);
    for (const pool of context.pools.all()) {
      for (const { user } of pool.stock.all) {
        if (user instanceof Session && user.phase === 'closed') checkAbandoned(user, nowMs);
      }
    }
    unconfirmedSinceMs = isConfirmed(context) ? Number.POSITIVE_INFINITY : Math.min(unconfirmedSinceMs, nowMs);
    const unconfirmedMs = nowMs - unconfirmedSinceMs;
    if (unconfirmedMs < ttlMs) return;
    const reason = `For ${seconds(unconfirmedMs)} this proxy could not confirm that its server still leads: ${context.lease.explain()}`;
    for (const session of sessions) endUnconfirmed(session, reason);
  }, SWEEP_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function isConfirmed({ lease }: SessionContext): boolean {
  const term = lease.view.route?.term;
  return term === undefined || lease.stillLeads(term);
}
