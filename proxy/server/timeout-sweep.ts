import { Session } from '../session/session.ts';
import type { SessionContext } from '../session/context.ts';
import { checkAbandoned, checkTimeouts } from '../session/timeouts.ts';

/** Time-outs end late by this much at most. */
const SWEEP_MS = 100;

/** Looks at all sessions from time to time, for what has lasted too long. Returns how to stop that. */
export function sweepTimeouts(context: SessionContext, sessions: ReadonlySet<Session>): () => void {
  const timer = setInterval(() => {
    const nowMs = context.clock.nowMs();
    for (const session of sessions) checkTimeouts(session, nowMs);
    for (const pool of context.pools.all()) {
      for (const { user } of pool.stock.all) {
        if (user instanceof Session && user.phase === 'closed') checkAbandoned(user, nowMs);
      }
    }
  }, SWEEP_MS);
  timer.unref();
  return () => clearInterval(timer);
}
