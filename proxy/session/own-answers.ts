import type { ClientError } from '../../common/errors.ts';
import { DOOMED, readyStatus } from '../routing/transaction.ts';
import type { Classification } from '../sql/types.ts';
import * as encode from '../wire/encode.ts';
import { asClientError, inFailedTransaction } from './errors.ts';
import type { Entry } from './exchange.ts';
import {
  answerOwn,
  columnsOf,
  inFailed,
  type OwnAnswer,
  type OwnStatement,
  ownStatement,
  refusalAmongOthers,
} from './own-settings.ts';
import type { Prepared } from './prepared.ts';
import type { Session } from './session.ts';
import { startUnit } from './start.ts';
import { failingUnit, Unit } from './unit.ts';

/**
 * Answers a unit that is about one of the proxy's own statements and nothing else. False: it is a server's. A unit that has such
 * statements among others is refused where they could not be obeyed.
 */
export function answerOwnUnit(session: Session, unit: Unit): boolean {
  const classification = unit.simple ?? soleClassification(unit);
  if (classification === null) return refuseAmongOthers(session, unit);
  const statement = ownStatement(classification);
  if (statement === null) return refuseAmongOthers(session, unit);
  unit.own = classification;
  if (inFailed(session)) fail(session, unit, inFailedTransaction());
  else step(session, unit, statement, 0);
  return true;
}

/** All messages are about one text; null: they are not, or some cannot be told. */
function soleClassification(unit: Unit): Classification | null {
  let sole = unit.own;
  for (const { kind, prepared, tracked } of unit.entries) {
    if (kind === 'fail' || kind === 'query' || kind === 'call') return null;
    const about = prepared?.classification ?? tracked;
    if (about === null) continue;
    if (sole !== null && sole !== about) return null;
    sole = about;
  }
  return sole;
}

function refuseAmongOthers(session: Session, unit: Unit): boolean {
  if (!unit.plan.own) return false;
  let refusal: ClientError | null = null;
  try {
    for (const { prepared } of unit.entries) {
      if (prepared !== null) refusal ??= refusalAmongOthers(session, prepared.classification);
    }
    if (unit.simple !== null) refusal ??= refusalAmongOthers(session, unit.simple);
  } catch (error) {
    refusal = asClientError(error);
  }
  if (refusal === null) return false;
  fail(session, unit, refusal);
  return true;
}

/** The messages from `from` on. One that has to wait goes on when it is done. */
function step(session: Session, unit: Unit, statement: OwnStatement, from: number): void {
  for (let index = from; index < unit.entries.length; index += 1) {
    const entry = unit.entries[index] as Entry;
    if (entry.kind !== 'execute' && entry.kind !== 'query') {
      answerOther(session, entry, statement);
      continue;
    }
    try {
      const answer = answerOwn(session, statement, textOf(unit, entry));
      if (answer instanceof Promise) {
        void answer.then(
          (late) => onAnswered(session, unit, statement, index, late),
          (error: unknown) => onRefused(session, unit, error),
        );
        return;
      }
      send(session, entry, statement, answer);
    } catch (error) {
      fail(session, unit, asClientError(error));
      return;
    }
  }
  finish(session, unit);
}

function onAnswered(session: Session, unit: Unit, statement: OwnStatement, index: number, answer: OwnAnswer): void {
  if (session.phase === 'closed') return;
  send(session, unit.entries[index] as Entry, statement, answer);
  step(session, unit, statement, index + 1);
  goOn(session);
}

function onRefused(session: Session, unit: Unit, error: unknown): void {
  if (session.phase === 'closed') return;
  fail(session, unit, asClientError(error));
  goOn(session);
}

/** After a wait: nobody else writes what was said, or takes the next input. */
function goOn(session: Session): void {
  if (session.phase === 'placing' || session.phase === 'closed') return;
  session.flush();
  if (session.draining !== null && session.phase === 'idle' && readyStatus(session.transaction) === 'I') {
    session.terminate(session.draining);
    return;
  }
  session.readOn();
}

function answerOther(session: Session, entry: Entry, statement: OwnStatement): void {
  if (entry.kind === 'parse') session.out.send(encode.PARSE_COMPLETE);
  else if (entry.kind === 'bind') session.out.send(encode.BIND_COMPLETE);
  else if (entry.kind === 'local') session.out.send(entry.bytes);
  else if (entry.kind === 'close') session.out.send(encode.CLOSE_COMPLETE);
  else if (entry.kind === 'describe') describe(session, entry, statement);
}

function describe(session: Session, entry: Entry, statement: OwnStatement): void {
  if (entry.prepared !== null) session.out.send(encode.parameterDescription(parametersOf(entry.prepared)));
  const columns = columnsOf(statement);
  session.out.send(columns === null ? encode.NO_DATA : encode.rowDescription(columns.map((name) => ({ name }))));
}

const TEXT_OID = 25;

/** Types of the parameters of a statement that is only explained: as the client declared them, else text. */
function parametersOf({ parse, textEnd, classification }: Prepared): number[] {
  const declared = parse.readUInt16BE(textEnd + 1);
  let count = declared;
  for (const [, number] of classification.key.matchAll(/(?<![\w$"])\$(\d{1,5})/g))
    count = Math.max(count, Number(number));
  return Array.from({ length: Math.min(count, 65_535) }, (_, index) => {
    return (index < declared && parse.readInt32BE(textEnd + 3 + 4 * index)) || TEXT_OID;
  });
}

function textOf(unit: Unit, entry: Entry): Buffer {
  if (entry.kind === 'query') return entry.bytes.subarray(5, entry.bytes.length - 1);
  const prepared = unit.entries.find((each) => each.prepared !== null)?.prepared ?? unit.ownPrepared;
  return prepared === null ? Buffer.alloc(0) : prepared.parse.subarray(prepared.textStart, prepared.textEnd);
}

function send(session: Session, { kind }: Entry, statement: OwnStatement, { tag, rows }: OwnAnswer): void {
  const columns = columnsOf(statement);
  if (kind === 'query' && columns !== null) session.out.send(encode.rowDescription(columns.map((name) => ({ name }))));
  for (const row of rows) session.out.send(encode.dataRow(row));
  session.out.send(encode.commandComplete(tag));
}

function finish(session: Session, unit: Unit): void {
  if (unit.complete) {
    session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
    session.phase = 'idle';
    session.unit = null;
    return;
  }
  // A Flush: the sequence goes on.
  const rest = new Unit();
  rest.own = unit.own;
  rest.ownPrepared = unit.entries.find((each) => each.prepared !== null)?.prepared ?? unit.ownPrepared;
  session.unit = rest;
  session.phase = 'gathering';
  session.flush();
}

/** As PostgreSQL: an error fails the transaction it is in, and everything up to Sync is void. */
function fail(session: Session, unit: Unit, error: ClientError): void {
  session.context.metrics.clientError(error.sqlState);
  for (const each of unit.entries.toReversed()) each.undo?.();
  if (session.transaction.kind === 'open' && !session.transaction.failed) {
    startUnit(session, failingUnit(unit, error));
    return;
  }
  if (session.transaction.kind === 'deferred') session.transaction = DOOMED;
  session.out.send(encode.errorResponse(error));
  session.unit = null;
  if (unit.complete) session.out.send(encode.readyForQuery(readyStatus(session.transaction)));
  session.phase = unit.complete ? 'idle' : 'discarding';
  session.flush();
}
