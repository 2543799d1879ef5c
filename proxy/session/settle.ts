import { ClientError } from '../../common/errors.ts';
import { isBeingSettled, isSettled } from '../routing/settled.ts';
import { SETTLE_LOST_MS } from './limits.ts';
import { levelOf, type Need } from './level.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** `gone`: the client, or the leader. */
type SettleOutcome = 'settled' | 'refused' | 'unknown' | 'gone';

/** Whether work on the leader must wait until the leader shows what the session has read on a follower. Costs nothing after reads on the leader. */
export function mustSettle(session: Session, unit: Unit, need: Need): boolean {
  return !isSettledNow(session) && session.settleWaitMs > 0 && levelOf(session, unit, need) !== 'eventual';
}

/** What a leader shows is confirmed, hence on every later one too. */
export function isSettledNow({ floor, context }: Session): boolean {
  if (floor.shownAtMs === -Infinity) return true;
  if (!isSettled(context.monitor.snapshot, floor)) return false;
  floor.shownAtMs = -Infinity;
  return true;
}

/**
 * Waits until the leader shows it, or is lost. Rejects with ClientError 57P03 after `settleWaitMs`, or when the signal aborts. Where nobody can tell (the
 * follower was lost, and no other has caught up with it), the session goes on.
 */
export function settle(session: Session, signal: AbortSignal): Promise<void> {
  const { floor, settleWaitMs } = session;
  const { monitor, lease, clock, metrics } = session.context;
  const startedMs = clock.nowMs();
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const end = (outcome: SettleOutcome, error?: Error): void => {
      for (const timer of timers) clearTimeout(timer);
      stop();
      release();
      signal.removeEventListener('abort', onAbort);
      const waitedMs = clock.nowMs() - startedMs;
      session.activity.causalMs += waitedMs;
      metrics.settleWaitEnded(waitedMs, outcome);
      session.waitingFor = 'connection';
      if (outcome === 'unknown') floor.shownAtMs = -Infinity;
      if (error === undefined) resolve();
      else reject(error);
    };
    const onAbort = (): void => end('gone', signal.reason as Error);
    const look = (): void => {
      if (isSettledNow(session)) end('settled');
      else if (clock.nowMs() - startedMs >= SETTLE_LOST_MS && !isBeingSettled(monitor.snapshot, startedMs))
        end('unknown');
    };
    session.waitingFor = 'leader';
    const timers = [
      setTimeout(() => (lease.leader() === null ? end('gone') : end('refused', notShown(session))), settleWaitMs),
      setTimeout(look, SETTLE_LOST_MS + 1),
    ];
    const stop = monitor.subscribe(look);
    const release = monitor.settle(floor.shownBy);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

function notShown(session: Session): ClientError {
  const { floor, context, settleWaitMs } = session;
  const { snapshot } = context.monitor;
  const follower = floor.shownBy === null ? 'a follower' : `follower ${floor.shownBy}`;
  const unsettled = Math.max(0, ...[...snapshot.nodes.values()].map((node) => node.unsettled));
  const what = unsettled === 0 ? '' : ` (${unsettled} transaction${unsettled === 1 ? '' : 's'})`;
  return new ClientError({
    sqlState: '57P03',
    message: `leader ${snapshot.leader ?? ''} does not show yet what this session has read on ${follower}${what}`,
    detail:
      'Its followers have it, and their confirmation has not reached the leader, or the leader does not answer. ' +
      `Waited ${settleWaitMs} ms (proxy.routing.settleWaitMs).`,
    hint: 'The statement was not run. Try again later; with leasehold.consistency = eventual a session does not wait.',
    safeToRetry: true,
  });
}
