import { ClientError } from '../../common/errors.ts';
import { momentOf } from '../../replication-monitor/freshness.ts';
import { formatToken, parseToken, standingOf, type Token, type TokenStanding } from '../routing/token.ts';
import { enter } from './servers.ts';
import type { Session } from './session.ts';
import { isSettledNow } from './settle.ts';

/**
 * `SHOW leasehold.token`: a position that covers all that this session was told of and has read. The leader is asked for it
 * now, and must still hold its lease when it has answered: then nobody has written in a later term, and nobody can have read more.
 * Waits for a leader as a write does. Rejects with ClientError 57P03, or when the signal aborts.
 */
export async function showToken(session: Session, signal: AbortSignal): Promise<string> {
  const { context } = session;
  const { monitor, lease, clock } = context;
  // What it covers the leader has to show, to whoever brings the token there.
  if (!isSettledNow(session) && session.settleWaitMs > 0) (await enter(session, true, signal)).leave();
  const askedAtMs = clock.nowMs();
  const look = (): Token | null => {
    const { term, marks } = monitor.snapshot;
    const newest = marks.at(-1);
    if (newest === undefined || newest.sentAtMs < askedAtMs || lease.leader()?.term !== term) return null;
    return { term, lsn: newest.lsn };
  };
  const token = await until(session, look, signal, () => noLeader(session, 'leasehold.token cannot be told'));
  return formatToken(token, context.cluster);
}

/**
 * `SET leasehold.token`: raises the session's floor so that what serves it from now on shows all that the token covers. Waits
 * as long as a write would for what this proxy has not heard yet. Rejects with ClientError 22023, 55000, 57P03.
 */
export async function reachToken(session: Session, text: string, signal: AbortSignal): Promise<void> {
  const { monitor, lease, clock, cluster } = session.context;
  const token = parseToken(text, cluster);
  const askedAtMs = clock.nowMs();
  const look = (): Exclude<TokenStanding, { readonly kind: 'wait' }> | null => {
    const { marks, term } = monitor.snapshot;
    const known = lease.view.route?.term ?? null;
    const standing = standingOf(token, {
      term: known,
      momentOf: (lsn) => (term === known ? momentOf(marks, lsn) : null),
      asked: term === known && (marks.at(-1)?.sentAtMs ?? -Infinity) >= askedAtMs,
    });
    return standing.kind === 'wait' ? null : standing;
  };
  const standing = await until(session, look, signal, () => tooLate(session, token));
  if (standing.kind === 'beyond') throw beyond(session, token);
  session.floor.committedAtMs = Math.max(session.floor.committedAtMs, standing.atMs);
}

/** What `look` finds, looking again at all that the monitor or etcd brings; `late` is thrown at the hold's deadline. */
function until<T>(session: Session, look: () => T | null, signal: AbortSignal, late: () => ClientError): Promise<T> {
  const { monitor, lease, config } = session.context;
  const found = look();
  if (found !== null) return Promise.resolve(found);
  return new Promise((resolve, reject) => {
    const stops: (() => void)[] = [];
    const end = (settle: () => void): void => {
      for (const stop of stops.splice(0)) stop();
      settle();
    };
    const lookAgain = (): void => {
      const seen = look();
      if (seen !== null) end(() => resolve(seen));
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    const timer = setTimeout(() => end(() => reject(late())), config.hold.deadlineMs);
    signal.addEventListener('abort', onAbort, { once: true });
    stops.push(
      () => clearTimeout(timer),
      () => signal.removeEventListener('abort', onAbort),
      monitor.subscribe(lookAgain),
      lease.subscribe(lookAgain),
    );
    monitor.wake();
  });
}

function noLeader(session: Session, what: string): ClientError {
  const { lease, config } = session.context;
  return new ClientError({
    sqlState: '57P03',
    message: `${what}: there is no leader to ask`,
    detail: `${lease.explain()} Waited ${config.hold.deadlineMs} ms (proxy.hold.deadlineMs).`,
    safeToRetry: true,
  });
}

function tooLate(session: Session, token: Token): ClientError {
  const known = session.context.lease.view.route?.term;
  if (known !== undefined && token.term <= known) return noLeader(session, 'leasehold.token cannot be reached');
  return new ClientError({
    sqlState: '55000',
    message: `leasehold.token is of term ${token.term}, and this proxy has heard of none after ${known ?? 'its start'}`,
    detail: `Waited ${session.context.config.hold.deadlineMs} ms (proxy.hold.deadlineMs).`,
    hint: 'The token is of a cluster that was made anew under the same name, or this proxy is cut off from etcd.',
    safeToRetry: true,
  });
}

function beyond(session: Session, token: Token): ClientError {
  return new ClientError({
    sqlState: '55000',
    message: `leasehold.token is ahead of the leader of its own term ${token.term}`,
    detail: `The leader ${session.context.lease.view.route?.leader ?? ''} was asked, and has not written that far.`,
    hint: 'The token is of a cluster that was made anew, or restored, under the same name.',
  });
}
