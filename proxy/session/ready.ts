import type { Backend } from '../pool/backend.ts';
import type { NodeFreshness } from '../../replication-monitor/types.ts';
import { onTransactionEvent } from '../routing/transaction.ts';
import { readyForQuery } from '../wire/encode.ts';
import { isInDoubt, tellInDoubt } from './cancel.ts';
import { stateLost, transactionLost } from './errors.ts';
import type { Entry } from './exchange.ts';
import { dropBackend, giveBack } from './give-back.ts';
import { afterDropped } from './recovery.ts';
import { releaseAfterUnit } from './release.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';
import { restoreStartup } from './settings-restore.ts';
import { losesState, pinForSequences } from './sequences.ts';
import { onTransactionEnd } from './transaction-end.ts';

/** ReadyForQuery: the unit is over, and the session's transaction is what it says. */
export function onReady(session: Session, entry: Entry, buffer: Buffer, start: number): void {
  const backend = session.backend as Backend;
  const status = buffer[start + 5] === 0x49 ? 'I' : buffer[start + 5] === 0x45 ? 'E' : 'T';
  if (entry.swallow) {
    session.exchange.emitLocals();
    return;
  }
  if (session.recovery !== null) {
    afterDropped(session, status);
    return;
  }
  if (status === 'I' && isInDoubt(session)) {
    tellInDoubt(session, 'It was cancelled, perhaps while it waited for synchronous followers');
  }
  session.holding = false;
  session.opening = null;
  const wasOpen = session.transaction;
  session.transaction = onTransactionEvent(wasOpen, { type: 'ready', status, node: backend.place.node });
  session.servedBy = backend.place.node;
  if (wasOpen.kind !== 'idle' || session.unit?.plan.target !== 'any') noteRead(session, backend);
  notePins(session, backend);
  if (status === 'I') onTransactionEnd(session, backend.place.role === 'leader', !session.errored);
  else onTransactionOpen(session);
  if (session.resets.size > 0 && status !== 'E') {
    if (session.phase !== 'closed' && !session.copyPart) {
      session.phase = 'placing';
      void restoreSettings(session, backend, status);
      return;
    }
    session.resets.clear();
    backend.settings = null;
  }
  relayReady(session, backend, status, buffer, start);
}

/** After a RESET: it means the session's start-up parameters, and not the server's defaults. */
async function restoreSettings(session: Session, backend: Backend, status: 'I' | 'T'): Promise<void> {
  let after: 'I' | 'T' | 'E' = status;
  try {
    await restoreStartup(session, backend);
  } catch (error) {
    session.context.logger.warn({ event: 'settings.not-restored', error: String(error) }, 'settings not restored');
    if (backend.closed && losesState(session)) session.terminate(stateLost(String(error), session.pins));
    if (status === 'T') after = failTransaction(session, backend, String(error));
  }
  if (session.backend !== backend) return;
  if (backend.closed) dropBackend(session);
  tellReady(session, backend, after);
}

function failTransaction(session: Session, { closed, place }: Backend, reason: string): 'E' {
  const event = closed ? ({ type: 'lost' } as const) : ({ type: 'ready', status: 'E', node: place.node } as const);
  session.transaction = onTransactionEvent(session.transaction, event);
  if (closed) session.doom = { error: transactionLost(reason), told: false };
  return 'E';
}

function tellReady(session: Session, backend: Backend, status: 'I' | 'T' | 'E'): void {
  const ready = readyForQuery(status);
  relayReady(session, backend, status, ready, 0);
}

/** `buffer` has the message at `start`: the server's own goes out with what it follows. */
function relayReady(session: Session, backend: Backend, status: 'I' | 'T' | 'E', buffer: Buffer, start: number): void {
  session.tellParameters(backend);
  if (session.phase !== 'closed') session.out.relay(buffer, start, start + READY_BYTES);
  endUnit(session, status);
}

const READY_BYTES = 6;

function onTransactionOpen(session: Session): void {
  session.settings.beginTransaction();
  const { unit } = session;
  // It may be another transaction than before: COMMIT AND CHAIN, or a text with COMMIT and BEGIN in it.
  if (unit === null || unit.streamed || unit.plan.committing || unit.plan.unread) {
    session.outcome.forget();
    session.watch.onMessage(true);
  }
}

/** Not of SET and SHOW outside a transaction: they may have run on a follower that is behind the last one, and have read nothing. */
function noteRead(session: Session, { place: { node, role } }: Backend): void {
  const { floor, context } = session;
  const nowMs = context.clock.nowMs();
  if (role === 'follower') {
    // Read at the level eventual, it may be behind what was read elsewhere before.
    const isBehind = node !== floor.lastNode && !shows(context.monitor.snapshot.nodes.get(node), floor.lastReadAtMs);
    floor.lastNode = isBehind ? null : node;
    floor.shownAtMs = nowMs;
    floor.shownBy = floor.lastNode;
  } else {
    floor.lastNode = node;
  }
  floor.lastReadAtMs = nowMs;
}

function shows(follower: NodeFreshness | undefined, atMs: number): boolean {
  return follower !== undefined && follower.freshAsOfMs >= atMs;
}

function notePins(session: Session, backend: Backend): void {
  const plan = session.unit?.plan;
  if (plan === undefined) return;
  if (plan.checksPins || plan.ddl || plan.pins.length > 0) session.pinsMoved = true;
  if (backend.place.role === 'leader') {
    // A lock of the session outlives the failure of the statement that took it.
    for (const pin of plan.pins) if (!session.errored || pin === 'advisory-lock') session.pins.add(pin);
    pinForSequences(session, session.unit as Unit);
  }
  if (!plan.ddl) return;
  session.changedSchema = true;
  if (plan.changesCalls) session.changedCalls = true;
  session.context.statements.forgetDatabase(session.client.database); // for the rest of its transaction
}

function endUnit(session: Session, status: 'I' | 'T' | 'E'): void {
  session.activity.end(session.unit, session.errored, status !== 'I');
  const closed = session.phase === 'closed';
  if (!closed) session.phase = 'idle';
  session.flush();
  if (status === 'I') {
    if (closed) {
      if (session.pins.size > 0 || session.copyPart) dropBackend(session);
      session.pass?.leave();
      session.pass = null;
      giveBack(session);
      return;
    }
    releaseAfterUnit(session);
    if (session.draining !== null && session.phase === 'idle') {
      session.terminate(session.draining);
      return;
    }
  } else if (closed) {
    dropBackend(session);
    return;
  }
  if (session.phase === 'idle') {
    session.unit = null;
    session.readOn();
  }
}
