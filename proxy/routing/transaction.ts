import { assertNever } from '../../common/never.ts';
import type { Isolation, StatementDetail } from '../sql/types.ts';

/**
 * A session's transaction as the proxy sees it.
 *
 *     idle ──begin──▶ deferred ──opened──▶ open ◀──ready T/E──┐
 *      ▲                 │  ▲                │  └──────────────┘
 *      │   commit/rollback  └ set transaction │ lost
 *      ├─────────────────┘                    ▼
 *      ├──────────────── ready I ─────── (open)      doomed
 *      └──────────────── commit/rollback ──────────────┘
 *
 * deferred: BEGIN was answered by the proxy, no server has seen it. doomed: the server that ran it is gone; the
 * client gets 25P02 until it ends the transaction, as after any failed statement.
 */
export type TransactionState =
  | { readonly kind: 'idle' }
  | {
      readonly kind: 'deferred';
      readonly modes: TransactionModes;
      /** What to send before the first statement, in order: the client's BEGIN and its SET TRANSACTIONs. Their answers are swallowed. */
      readonly sql: readonly string[];
    }
  | { readonly kind: 'open'; readonly node: string; readonly failed: boolean }
  | { readonly kind: 'doomed' };

/** Null: not said; the session's default holds. */
export interface TransactionModes {
  readonly readOnly: boolean | null;
  readonly isolation: Isolation | null;
  readonly deferrable: boolean | null;
}

export type TransactionEvent =
  /** The first statement of a deferred transaction, or one that opens a transaction itself, went to `node`. */
  | { readonly type: 'opened'; readonly node: string }
  /** ReadyForQuery from the server. `node` says whose, for a transaction that a multi-statement text opened. */
  | { readonly type: 'ready'; readonly status: 'I' | 'T' | 'E'; readonly node: string }
  /** The backend is gone, or its term is over. */
  | { readonly type: 'lost' };

export const IDLE: TransactionState = { kind: 'idle' };
export const DOOMED: TransactionState = { kind: 'doomed' };

/** What the server said or what befell it. */
export function onTransactionEvent(state: TransactionState, event: TransactionEvent): TransactionState {
  switch (event.type) {
    case 'opened':
      return { kind: 'open', node: event.node, failed: false };
    case 'ready':
      if (event.status === 'I') return IDLE;
      if (state.kind === 'open' && state.failed === (event.status === 'E')) return state;
      return { kind: 'open', node: event.node, failed: event.status === 'E' };
    case 'lost':
      // A deferred transaction has no backend to lose, and a doomed one lost it already.
      return state.kind === 'open' ? DOOMED : state;
    default:
      return assertNever(event, 'transaction event');
  }
}

/** An answer that the proxy gives itself. `tag` is CommandComplete's; `error` asks for 25P02. */
export type LocalAnswer =
  | { readonly kind: 'complete'; readonly tag: string; readonly next: TransactionState }
  | { readonly kind: 'error'; readonly sqlState: '25P02'; readonly next: TransactionState };

/**
 * What the proxy answers itself to a single statement, or null when a server must. `sql` is the statement's own text.
 * The ReadyForQuery status that follows is `readyStatus(next)`.
 *
 * BEGIN in a deferred transaction and COMMIT outside of one are left to a server: it words the warning.
 * Not used for texts of several statements: these go to the leader intact.
 */
export function answerLocally(state: TransactionState, statement: StatementDetail, sql: string): LocalAnswer | null {
  switch (state.kind) {
    case 'idle':
      if (statement.kind !== 'begin') return null;
      return complete('BEGIN', { kind: 'deferred', modes: modesOf(statement), sql: [sql] });
    case 'deferred':
      return answerDeferred(state, statement, sql);
    case 'doomed':
      return answerDoomed(statement);
    case 'open':
      return null;
    default:
      return assertNever(state, 'transaction state');
  }
}

/** SET TRANSACTIONs kept for one deferred BEGIN; more than these are left to the server. */
const MAX_DEFERRED = 16;

function answerDeferred(
  state: TransactionState & { readonly kind: 'deferred' },
  statement: StatementDetail,
  sql: string,
): LocalAnswer | null {
  if (statement.kind === 'commit' || statement.kind === 'rollback') {
    const tag = statement.kind === 'commit' ? 'COMMIT' : 'ROLLBACK';
    // AND CHAIN begins another with the same modes: the text that was kept says just that.
    return complete(tag, statement.chain ? state : IDLE);
  }
  if (statement.kind === 'set-transaction' && !statement.session && state.sql.length < MAX_DEFERRED) {
    const given = modesOf(statement);
    const modes: TransactionModes = {
      readOnly: given.readOnly ?? state.modes.readOnly,
      isolation: given.isolation ?? state.modes.isolation,
      deferrable: given.deferrable ?? state.modes.deferrable,
    };
    return complete('SET', { kind: 'deferred', modes, sql: [...state.sql, sql] });
  }
  return null;
}

function answerDoomed(statement: StatementDetail): LocalAnswer {
  // PostgreSQL answers COMMIT and PREPARE TRANSACTION of a failed transaction with ROLLBACK. AND CHAIN begins another,
  // whose modes went with the server: the session's defaults are the nearest that is true.
  if (statement.kind === 'commit' || statement.kind === 'rollback') {
    return complete('ROLLBACK', statement.chain ? { kind: 'deferred', modes: UNSAID, sql: ['BEGIN'] } : IDLE);
  }
  if (statement.kind === 'prepare-transaction') return complete('ROLLBACK', IDLE);
  return { kind: 'error', sqlState: '25P02', next: DOOMED };
}

const UNSAID: TransactionModes = { readOnly: null, isolation: null, deferrable: null };

function complete(tag: string, next: TransactionState): LocalAnswer {
  return { kind: 'complete', tag, next };
}

function modesOf(statement: StatementDetail & { readonly kind: 'begin' | 'set-transaction' }): TransactionModes {
  return { readOnly: statement.readOnly, isolation: statement.isolation, deferrable: statement.deferrable };
}

/** The session's `default_transaction_*`, see `SessionSettings.transactionDefaults`. */
export interface TransactionDefaults {
  readonly readOnly: boolean;
  readonly isolation: Isolation | null;
}

/**
 * Where a deferred transaction goes when its first statement comes. A standby has no SERIALIZABLE, so that is
 * the leader's even when READ ONLY. The first statement may still force the leader (`Classification.target` and the
 * hint do not: the client said READ ONLY, and a write there is its error), except `SET TRANSACTION READ WRITE`, which
 * refines the modes instead.
 */
export function routeOfTransaction(modes: TransactionModes, defaults: TransactionDefaults): 'leader' | 'follower' {
  if ((modes.isolation ?? defaults.isolation) === 'serializable') return 'leader';
  return (modes.readOnly ?? defaults.readOnly) ? 'follower' : 'leader';
}

/** ReadyForQuery's status byte. https://www.postgresql.org/docs/current/protocol-message-formats.html */
export function readyStatus(state: TransactionState): 'I' | 'T' | 'E' {
  switch (state.kind) {
    case 'idle':
      return 'I';
    case 'deferred':
      return 'T';
    case 'open':
      return state.failed ? 'E' : 'T';
    case 'doomed':
      return 'E';
    default:
      return assertNever(state, 'transaction state');
  }
}
