import { setTimeout as sleep } from 'node:timers/promises';
import type { Term } from '../../common/lsn.ts';
import { runInternal } from '../pool/internal-query.ts';
import { commitFate } from '../routing/commit-fate.ts';
import { IDLE } from '../routing/transaction.ts';
import * as encode from '../wire/encode.ts';
import { outcomeUnknown, transactionLost } from './errors.ts';
import type { Entry } from './exchange.ts';
import { INTERNAL_TIMEOUT_MS, LEADER_RETRY_MS } from './limits.ts';
import { startWaiting, stopWaiting } from './placement.ts';
import { findLeader } from './servers.ts';
import { forgetTransaction, report } from './refuse.ts';
import type { Session } from './session.ts';
import { onTransactionEnd } from './transaction-end.ts';
import type { Unit } from './unit.ts';

/** A COMMIT whose answer was lost. */
export interface LostCommit {
  readonly term: Term;
  readonly xid: bigint;
  /** How its connection was lost. */
  readonly reason: string;
  /** The client's messages whose answers it has not heard. */
  readonly unheard: readonly Entry[];
}

type Fate = 'committed' | 'aborted' | 'unknown';

/**
 * Asks the next leader what became of the transaction, and answers the client accordingly (S7): as if nothing had happened,
 * with 40001, or with 08007 where nobody can say. Its input waits meanwhile, within the limits of the write gate.
 */
export function resolveCommit(session: Session, unit: Unit, lost: LostCommit): void {
  const abort = startWaiting(session, new AbortController());
  session.exchange.reset();
  void askUntilKnown(session, lost, abort.signal).then(
    (fate) => tell(session, unit, lost, fate),
    () => tell(session, unit, lost, 'unknown'),
  );
}

function tell(session: Session, unit: Unit, lost: LostCommit, fate: Fate): void {
  stopWaiting(session);
  const { term, xid, reason } = lost;
  session.context.logger.info(
    { event: 'commit.resolved', term: Number(term), xid: xid.toString(), fate },
    `a COMMIT whose answer was lost: ${fate}`,
  );
  if (session.phase === 'closed') return;
  if (fate === 'committed') {
    answerCommitted(session, lost.unheard);
    return;
  }
  forgetTransaction(session);
  report(session, unit, fate === 'aborted' ? transactionLost(reason) : outcomeUnknown(reason), lost.unheard);
}

/** Rejects at the deadline of the hold, and when the signal aborts. */
async function askUntilKnown(session: Session, lost: LostCommit, signal: AbortSignal): Promise<Fate> {
  const { clock, config } = session.context;
  const untilMs = clock.nowMs() + config.hold.deadlineMs;
  while (clock.nowMs() < untilMs) {
    const fate = await ask(session, lost, signal);
    if (fate !== null) return fate;
    await sleep(LEADER_RETRY_MS, undefined, { signal });
  }
  return 'unknown';
}

/** Null: this leader cannot say yet, or was lost. */
async function ask(session: Session, lost: LostCommit, signal: AbortSignal): Promise<Fate | null> {
  const { backend, pool, pass } = await findLeader(session, false, signal);
  try {
    if (pass === null) return 'unknown';
    const fate = commitFate(lost, pass.term, session.context.lease.view.history);
    if (fate === 'never-arrived') return 'aborted';
    if (fate === 'unknown') return 'unknown';
    backend.unnamedOwner = null; // a simple query drops the unnamed statement
    const sql = `SELECT pg_catalog.pg_xact_status('${lost.xid}'::pg_catalog.xid8)`;
    const rows = await runInternal(backend, sql, INTERNAL_TIMEOUT_MS);
    return fateOf(rows[0]?.[0] ?? null, fate === 'same-term');
  } catch (error) {
    if (signal.aborted || !backend.closed) throw error;
    return null;
  } finally {
    pass?.leave();
    pool.give(backend);
  }
}

/**
 * A new leader opens its route when a quorum has all that it started with: what it calls committed is. The leader of the same
 * term may call committed what waits for followers in vain, or what another transaction did after its crash.
 */
function fateOf(status: string | null, sameTerm: boolean): Fate | null {
  if (status === 'aborted') return 'aborted';
  if (status === 'committed') return sameTerm ? 'unknown' : 'committed';
  return status === 'in progress' && sameTerm ? null : 'unknown';
}

function answerCommitted(session: Session, unheard: readonly Entry[]): void {
  session.transaction = IDLE;
  session.phase = 'idle';
  session.unit = null;
  onTransactionEnd(session, true, true);
  for (const { kind, swallow, bytes, prepared } of unheard) {
    if (swallow) continue;
    if (kind === 'parse') session.out.send(encode.PARSE_COMPLETE);
    else if (kind === 'bind') session.out.send(encode.BIND_COMPLETE);
    else if (kind === 'close') session.out.send(encode.CLOSE_COMPLETE);
    else if (kind === 'local') session.out.send(bytes);
    else if (kind === 'describe') {
      if (prepared !== null) session.out.send(encode.parameterDescription([]));
      session.out.send(encode.NO_DATA);
    } else if (kind === 'execute' || kind === 'query') session.out.send(encode.commandComplete('COMMIT'));
  }
  session.out.send(encode.READY_IDLE);
  session.flush();
  if (session.draining !== null) session.terminate(session.draining);
  else session.readOn();
}
