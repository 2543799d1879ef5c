import { ClientError } from '../../common/errors.ts';
import { answerLocally as transactionAnswer, IDLE, readyStatus, type LocalAnswer } from '../routing/transaction.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import { decodeBind, decodeExecute, decodeTarget } from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import { onlyStatement } from './outcome.ts';
import { answerOwnUnit } from './own-answers.ts';
import type { Prepared } from './prepared.ts';
import { forgetTransaction, tellDoom } from './refuse.ts';
import { keepsState } from './sequences.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/**
 * Answers a unit without a server where the proxy can: BEGIN and what follows it while no server has seen it, a
 * transaction whose server is gone, the proxy's own settings. False: a server must.
 */
export function answerLocally(session: Session, unit: Unit): boolean {
  const { simple } = unit;
  if (simple !== null) return answerSimple(session, unit, simple);
  if (session.transaction.kind === 'doomed') return answerDoomedExtended(session, unit);
  if ((unit.plan.own || unit.own !== null) && answerOwnUnit(session, unit)) return true;
  return answerTransaction(session, unit);
}

function answerSimple(session: Session, unit: Unit, classification: Classification): boolean {
  const statement = classification.statements.length === 1 ? classification.statements[0] : undefined;
  if (session.transaction.kind === 'doomed') {
    if (statement === undefined) return false; // startUnit reports the failed transaction
    // A driver that gives its names up does not listen to the answer: the loss is told to what comes next, and the name is gone.
    if (statement.kind === 'deallocate' && session.doom?.told === false && deallocated(session, statement, 'T'))
      return true;
    const message = unit.entries[0]?.bytes as Buffer;
    return answerDoomed(session, statement, textOf(message, statement));
  }
  if (unit.plan.own) return answerOwnUnit(session, unit);
  if (statement === undefined || statement.kind === 'read' || statement.kind === 'write') return false;
  if (statement.kind === 'deallocate' && deallocated(session, statement)) return true;
  if (keepsState(session) && session.backend !== null) return false; // its server is there: no use in waiting
  const answer = transactionAnswer(session.transaction, statement, textOf(unit.entries[0]?.bytes as Buffer, statement));
  if (answer === null || answer.kind === 'error') return false;
  complete(session, answer, statement);
  session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
  return true;
}

/** A name of this session is gone; servers keep what they have under it for others. False: a server must word the error. */
function deallocated(
  { statements, out, transaction }: Session,
  statement: StatementInfo & { readonly kind: 'deallocate' },
  status = readyStatus(transaction),
): boolean {
  if (status === 'E' || transaction.kind === 'deferred') return false;
  if (statement.name === null) statements.clear();
  else if (!statements.remove(statement.name)) return false;
  out.send(encode.commandComplete(statement.name === null ? 'DEALLOCATE ALL' : 'DEALLOCATE'));
  out.send(encode.readyForQuery(status));
  return true;
}

function complete(session: Session, answer: LocalAnswer & { readonly kind: 'complete' }, of: StatementInfo): void {
  session.transaction = answer.next;
  // Settings of the proxy's own may have been set before any server saw the transaction.
  if (of.kind === 'commit' || of.kind === 'rollback') session.settings.apply(of);
  const started = of.kind === 'begin' && answer.next.kind === 'deferred' && /^\s*start/i.test(answer.next.sql[0] ?? '');
  session.out.send(encode.commandComplete(started ? 'START TRANSACTION' : answer.tag));
}

function answerDoomed(session: Session, statement: StatementInfo, sql: string): boolean {
  const answer = transactionAnswer(session.transaction, statement, sql);
  if (answer === null || answer.kind === 'error') return false;
  const { doom } = session;
  forgetTransaction(session);
  if (doom !== null && statement.kind !== 'rollback') {
    // The tag ROLLBACK would be read as success by many drivers, and what heard of the loss first may have kept it from the program.
    session.out.send(encode.errorResponse(doom.error));
    session.transaction = IDLE;
  } else {
    complete(session, answer, statement);
  }
  session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
  return true;
}

function textOf(message: Buffer, statement: StatementInfo): string {
  if (statement.start < 0) return message.toString('utf8', 5, message.length - 1);
  return message.toString('utf8', 5 + statement.start, 5 + statement.end);
}

/** BEGIN alone, and what changes or ends a transaction that no server has seen. */
function answerTransaction(session: Session, unit: Unit): boolean {
  const statement = onlyStatement(unit);
  if (statement === null) return false;
  if (statement.kind !== 'deallocate' && keepsState(session) && session.backend !== null) return false;
  const binds = unit.entries.filter(({ kind }) => kind === 'bind');
  const prepared = binds[0]?.prepared;
  if (binds.length !== 1 || prepared === null || prepared === undefined) return false;
  const portal = portalOf(binds[0]?.bytes as Buffer);
  // A portal with a name stays to the end of its transaction, and a server must have it.
  if (portal !== '' && statement.kind !== 'commit' && statement.kind !== 'rollback') return false;
  if (portal === null || unit.entries.some((entry) => !isPlain(entry, prepared, portal))) return false;
  const text = prepared.parse.subarray(prepared.textStart, prepared.textEnd);
  const sql = statement.start < 0 ? text.toString() : text.toString('utf8', statement.start, statement.end);
  const answer =
    statement.kind === 'deallocate'
      ? deallocateAnswer(session, unit, statement)
      : transactionAnswer(session.transaction, statement, sql);
  if (answer === null || answer.kind === 'error') return false;
  for (const { kind, bytes, prepared: of } of unit.entries) {
    if (kind === 'parse') session.out.send(encode.PARSE_COMPLETE);
    else if (kind === 'bind') session.out.send(encode.BIND_COMPLETE);
    else if (kind === 'local') session.out.send(bytes);
    else if (kind === 'describe') describeNothing(session, of !== null);
    else if (kind === 'execute') complete(session, answer, statement);
  }
  session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
  session.phase = 'idle';
  session.unit = null;
  return true;
}

function describeNothing(session: Session, statement: boolean): void {
  if (statement) session.out.send(encode.parameterDescription([]));
  session.out.send(encode.NO_DATA);
}

/** The name was taken away when the Execute came (`applySql`), if it was there. */
function deallocateAnswer(
  { transaction }: Session,
  unit: Unit,
  { name }: StatementInfo & { readonly kind: 'deallocate' },
): LocalAnswer | null {
  if (readyStatus(transaction) === 'E' || transaction.kind === 'deferred') return null;
  if (name === null) return { kind: 'complete', tag: 'DEALLOCATE ALL', next: transaction };
  const taken = unit.entries.some(({ kind, undo }) => kind === 'execute' && undo !== null);
  return taken ? { kind: 'complete', tag: 'DEALLOCATE', next: transaction } : null;
}

/** The portal of a Bind without parameters; null: it has some, and a server must word the error. */
function portalOf(message: Buffer): string | null {
  const { portal, tailStart } = decodeBind(message, 5, message.length);
  const formats = message.readInt16BE(tailStart);
  return formats > 1 || message.readInt16BE(tailStart + 2 + 2 * formats) !== 0 ? null : portal;
}

/** Part of running this statement once, by this portal, and of nothing else. */
function isPlain({ kind, prepared, bytes }: Entry, of: Prepared, portal: string): boolean {
  switch (kind) {
    case 'local':
    case 'sync':
      return true;
    case 'execute':
      return decodeExecute(bytes, 5, bytes.length).portal === portal;
    case 'describe':
      return prepared === null ? decodeTarget(bytes, 5, bytes.length).name === portal : prepared === of;
    case 'parse':
    case 'bind':
      return prepared === of;
    default:
      return false;
  }
}

/** As PostgreSQL treats a failed transaction: only what ends it goes through, and after an error all up to Sync is void. */
function answerDoomedExtended(session: Session, unit: Unit): boolean {
  let current: Classification | null = null;
  for (const entry of unit.entries) {
    if (entry.kind === 'parse' || entry.kind === 'bind') current = entry.prepared?.classification ?? null;
    const answer = doomedEntry(session, entry.kind, current);
    if (answer instanceof ClientError) {
      for (const each of unit.entries.toReversed()) each.undo?.();
      session.out.send(encode.errorResponse(answer));
      break;
    }
    if (answer !== null) session.out.send(answer);
  }
  session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
  session.phase = 'idle';
  session.unit = null;
  return true;
}

function doomedEntry(
  session: Session,
  kind: string,
  classification: Classification | null,
): Buffer | ClientError | null {
  const statement = classification?.statements.length === 1 ? classification.statements[0] : undefined;
  const ends =
    statement?.kind === 'rollback' || statement?.kind === 'commit' || statement?.kind === 'prepare-transaction';
  switch (kind) {
    case 'sync':
      return null;
    case 'close':
    case 'local':
      return encode.CLOSE_COMPLETE;
    case 'parse':
      return ends ? encode.PARSE_COMPLETE : tellDoom(session);
    case 'bind':
      return ends ? encode.BIND_COMPLETE : tellDoom(session);
    case 'describe':
      return ends ? encode.NO_DATA : tellDoom(session);
    case 'execute':
      if (!ends || statement === undefined) return tellDoom(session);
      return endDoomed(session, statement);
    default:
      return tellDoom(session);
  }
}

function endDoomed(session: Session, statement: StatementInfo): Buffer | ClientError {
  const { doom } = session;
  const answer = transactionAnswer(session.transaction, statement, '');
  forgetTransaction(session);
  if (doom !== null && statement.kind !== 'rollback') return doom.error;
  if (answer !== null) session.transaction = answer.next;
  return encode.commandComplete('ROLLBACK');
}
