import type { Backend, BackendLoss } from '../pool/backend.ts';
import type { StatementInfo } from '../sql/types.ts';
import { query } from '../wire/encode.ts';
import type { Entry } from './exchange.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** What a session keeps so that it can tell what became of a unit whose answer was lost (S6, S7). */
export class Outcome {
  /** Of the unit in flight: bytes of it went to a socket that took them. */
  sent = false;
  /** Of the unit in flight: how many of the client's statements have said that they are complete. */
  completed = 0;
  /** The id of the transaction that is open on a leader, once it is known. */
  xid: bigint | null = null;
  /** The server said that the transaction had no id: it had written nothing by then. */
  unassigned = false;
  /** The question for the id failed, and with it the transaction. */
  failed = false;
  #asked = false;

  beginUnit(): void {
    this.sent = false;
    this.completed = 0;
    this.unassigned = false;
  }

  /** The transaction is over, or nobody can be sure that it is still the same. */
  forget(): void {
    this.xid = null;
    this.failed = false;
    this.#asked = false;
  }

  /** A DataRow that answers `XID_ENTRY`: one column, NULL where no id was given out. */
  note(row: Buffer, start: number): void {
    const length = row.readInt32BE(start + 7);
    if (length < 0) this.unassigned = true;
    else this.xid = BigInt(row.toString('latin1', start + 11, start + 11 + length));
  }

  /** Asked with the second statement of a transaction that may have written; else with its COMMIT, every time. */
  mayAsk(committing: boolean): boolean {
    if (this.xid !== null || (this.#asked && !committing)) return false;
    this.#asked = true;
    return true;
  }
}

/** Asks for the id of the open transaction, in the same write as a statement of it. */
export const XID_ENTRY: Entry = {
  kind: 'query',
  bytes: query('SELECT pg_catalog.pg_current_xact_id_if_assigned()'),
  swallow: true,
  prepared: null,
  name: '',
  tracked: null,
  undo: null,
};

/**
 * Whether the id of the transaction is to be asked for before this unit: so that it is known, if the answer to COMMIT is
 * lost. Called before anything of the unit is noted in the session.
 */
export function asksXid(session: Session, unit: Unit, backend: Backend): boolean {
  const { transaction, outcome, wrote } = session;
  if (transaction.kind !== 'open' || transaction.failed || backend.place.role !== 'leader') return false;
  if (!unit.complete || unit.streamed || !sparesPortals(unit) || mustComeFirst(unit)) return false;
  if (!unit.plan.committing) return wrote && outcome.mayAsk(false);
  return isPlainCommit(unit) && outcome.mayAsk(true);
}

/**
 * SET TRANSACTION, and a BEGIN within a transaction, which sets its modes as well, must come before any query, and the question is one: behind
 * COMMIT AND CHAIN, or a text that ends with BEGIN, they would be refused.
 */
function mustComeFirst(unit: Unit): boolean {
  const first = unit.entries.find(({ kind }) => kind === 'query' || kind === 'execute')?.tracked?.statements[0];
  if (first?.kind === 'set') return first.name.startsWith('transaction_');
  return first?.kind === 'set-transaction' || first?.kind === 'begin';
}

/** The question is a simple query, which takes the unnamed portal away: a unit that uses an older one is not preceded by it. */
function sparesPortals(unit: Unit): boolean {
  for (const { kind, bytes, prepared } of unit.entries) {
    const named = bytes[5] !== 0;
    if (kind === 'query') return true;
    if (kind === 'bind' && !named) return true;
    if (kind === 'call') return true;
    if (kind === 'execute' && !named) return false;
    if (kind === 'describe' && prepared === null) return false;
  }
  return true;
}

/** The one statement that the unit carries out; null where there are others, or none. */
export function onlyStatement(unit: Unit): StatementInfo | null {
  if (!unit.complete || unit.streamed) return null;
  let only = unit.simple;
  for (const { kind, tracked } of unit.entries) {
    if (kind === 'call' || (kind === 'query' && unit.simple === null)) return null;
    if (kind !== 'execute') continue;
    if (only !== null || tracked === null) return null;
    only = tracked;
  }
  return only?.statements.length === 1 ? (only.statements[0] ?? null) : null;
}

export function isPlainCommit(unit: Unit): boolean {
  const statement = onlyStatement(unit);
  return statement?.kind === 'commit' && !statement.chain;
}

/** It can only have rolled back, whether it was carried out or not. */
export function onlyRollsBack(session: Session, unit: Unit): boolean {
  const statement = onlyStatement(unit);
  if (statement === null || session.transaction.kind !== 'open') return false;
  if (statement.kind === 'rollback') return !statement.chain;
  return statement.kind === 'commit' && !statement.chain && session.transaction.failed;
}

/** Kinds that commit when they are complete, and not earlier: unlike CALL, VACUUM or CREATE INDEX CONCURRENTLY. */
const COMMITS_LAST: ReadonlySet<StatementInfo['kind']> = new Set(['read', 'write', 'copy-from', 'copy-to', 'commit']);

/**
 * What PostgreSQL's last words prove. A FATAL arrives in order: no CommandComplete before it, so nothing was complete.
 *
 * `not-run`: it was waiting for a command (`secure_read`, when the postmaster died). `undone`: it was told to end and
 * stopped where interrupts are served, which is never between the commit and its CommandComplete (CommitTransaction
 * holds them off; a wait for followers that is given up sends a warning and closes). A server that dies by SIGQUIT
 * sends a warning at any moment, and that proves nothing.
 */
export function provenBy(session: Session, unit: Unit, loss: BackendLoss): 'not-run' | 'undone' | 'nothing' {
  const { outcome, exchange } = session;
  const { fatal } = loss;
  if (fatal === null || fatal.severity !== 'FATAL' || outcome.completed > 0 || unit.streamed) return 'nothing';
  const statement = onlyStatementOf(unit);
  if (statement === null || !COMMITS_LAST.has(statement.kind)) return 'nothing';
  if (fatal.routine === 'ProcessInterrupts') return 'undone';
  if (fatal.routine !== 'secure_read') return 'nothing';
  return session.passedOn || exchange.copying || statement.kind === 'copy-from' ? 'undone' : 'not-run';
}

/** As `onlyStatement`, for statements that the proxy does not follow as well. */
function onlyStatementOf(unit: Unit): StatementInfo | null {
  if (unit.simple !== null) return onlyStatement(unit);
  if (!unit.complete) return null;
  let executes = 0;
  let binds = 0;
  let statements: readonly StatementInfo[] = [];
  for (const { kind, bytes, prepared } of unit.entries) {
    if (kind === 'call' || kind === 'query') return null;
    if (kind !== 'execute' && kind !== 'bind') continue;
    // An Execute of a portal that was bound before this unit could be of anything.
    if (bytes[5] !== 0) return null;
    if (kind === 'execute') executes += 1;
    else if (executes > 0) return null;
    else {
      binds += 1;
      statements = prepared?.classification.statements ?? [];
    }
  }
  return executes === 1 && binds === 1 && statements.length === 1 ? (statements[0] ?? null) : null;
}
