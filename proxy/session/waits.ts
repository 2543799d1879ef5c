import type { Backend } from '../pool/backend.ts';
import type { FollowerChoice } from '../routing/choose-node.ts';
import { firstReadWaitMs } from '../routing/choose-node.ts';
import { mayStillLead } from './release.ts';
import type { Session } from './session.ts';

/** Waits for a follower that is fresh enough, at most `causalWaitMs` (a first read: see `firstReadWaitMs`); then the leader serves. Rejects when the signal aborts. */
export function waitForFollower(
  session: Session,
  choose: () => FollowerChoice,
  signal: AbortSignal,
): Promise<FollowerChoice> {
  const { monitor, clock, metrics } = session.context;
  const startedMs = clock.nowMs();
  monitor.wake();
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      stop();
      signal.removeEventListener('abort', onAbort);
    };
    const settle = (choice: FollowerChoice): void => {
      end();
      const waitedMs = clock.nowMs() - startedMs;
      session.activity.causalMs += waitedMs;
      metrics.causalWaitEnded(waitedMs, choice.kind === 'follower' ? 'follower' : 'leader');
      resolve(choice);
    };
    const onAbort = (): void => {
      end();
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => settle({ kind: 'leader' }), waitLimitMs(session));
    const stop = monitor.subscribe(() => {
      const choice = choose();
      if (choice.kind === 'wait') monitor.wake();
      else settle(choice);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * A session that has read nothing yet may wait longer, if a follower can be expected to show in time what was committed before
 * the session began. Else the leader would serve it, and keep it: what is read there is newer than late followers ever show.
 */
function waitLimitMs(session: Session): number {
  const { causalWaitMs, floor, context } = session;
  if (causalWaitMs === 0 || floor.lastReadAtMs !== -Infinity) return causalWaitMs;
  return firstReadWaitMs(context.monitor.snapshot, floor.committedAtMs, causalWaitMs);
}

/**
 * Waits until the term of the backend is confirmed again (true), or is over or not confirmed within the hold deadline
 * (false). Rejects when the signal aborts.
 */
export function waitForLease(session: Session, backend: Backend, signal: AbortSignal): Promise<boolean> {
  const { lease, config } = session.context;
  return new Promise((resolve, reject) => {
    const settle = (leads: boolean): void => {
      clearTimeout(timer);
      stop();
      signal.removeEventListener('abort', onAbort);
      resolve(leads);
    };
    const onAbort = (): void => {
      settle(false);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => settle(false), config.hold.deadlineMs);
    const stop = lease.subscribe(() => {
      if (mayStillLead(session, backend)) settle(true);
      else if ((lease.view.route?.term ?? -1n) > (backend.place.term ?? 0n) || backend.closed) settle(false);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
