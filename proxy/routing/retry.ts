/** What happened to a unit of work on a backend. */
export interface Failure {
  /** What was asked: `read` only if its Classification is retryable. */
  readonly work: 'read' | 'write';
  readonly role: 'leader' | 'follower';
  /**
   * `none`: autocommit. `opening`: the unit that opened an explicit transaction, i.e. a deferred BEGIN and its first
   * statement, nothing of which was passed on before. `open`: any later one. `committing`: the unit ends the transaction
   * and may commit it (COMMIT, PREPARE TRANSACTION, or a text that has one).
   */
  readonly transaction: 'none' | 'opening' | 'open' | 'committing';
  /** Whether any byte of the unit was given to the backend's socket. */
  readonly sent: boolean;
  /** It is proven that no effect of the unit, nor of the transaction that it would have committed, lasts. */
  readonly undone: boolean;
  /** Whether any byte of its answer was given to the client's socket. */
  readonly passedOn: boolean;
  /** How often the unit was run already, this time included: 1 at first. */
  readonly attempts: number;
  /** Null: the connection was lost (or its term is over, or connecting failed). */
  readonly error: ServerError | null;
}

/** Fields of an ErrorResponse: S (not localised: V), C, F and R. Never the message text. */
export interface ServerError {
  readonly severity: string;
  readonly sqlState: string;
  readonly file: string | null;
  readonly routine: string | null;
}

export type Recovery =
  /** The client gets the server's own error. */
  | { readonly kind: 'pass-on' }
  /** Run it on another node, the leader included when no follower is left; exclude the one that failed. */
  | { readonly kind: 'retry-elsewhere' }
  /** Run it on the leader; `learn`: call `Classifier.learnWrite` with its key. */
  | { readonly kind: 'retry-on-leader'; readonly learn: boolean }
  /** Nothing was sent: back to the write gate (or, as a read, to the choice of a follower) until its deadline. */
  | { readonly kind: 'again' }
  /** The proxy words an error; the transaction, if one is open, is doomed (ReadyForQuery E), else the session is idle. */
  | { readonly kind: 'report'; readonly sqlState: '40001' | '08007' };

/** Runs of one unit; ROUTING.md: at most three nodes. */
export const MAX_ATTEMPTS = 3;

const PASS_ON: Recovery = { kind: 'pass-on' };
const RETRY_ELSEWHERE: Recovery = { kind: 'retry-elsewhere' };
const RETRY_ON_LEADER: Recovery = { kind: 'retry-on-leader', learn: false };
const LEARN_WRITE: Recovery = { kind: 'retry-on-leader', learn: true };
const AGAIN: Recovery = { kind: 'again' };
/** The transaction provably did not commit; the client may run it again. */
const SERIALIZATION: Recovery = { kind: 'report', sqlState: '40001' };
/** transaction_resolution_unknown. */
const UNKNOWN: Recovery = { kind: 'report', sqlState: '08007' };

/**
 * What to do after an error or a loss (S6, S7). https://www.postgresql.org/docs/current/errcodes-appendix.html
 *
 * After `report` of a `committing` unit the session is idle; of an `opening` or `open` one it is doomed.
 */
export function recoveryOf(failure: Failure): Recovery {
  return failure.error === null ? afterLoss(failure) : afterError(failure, failure.error);
}

function afterLoss(failure: Failure): Recovery {
  if (!failure.sent) {
    // Of an open transaction the earlier statements are gone with the backend, whether this one was sent or not.
    return failure.transaction === 'none' || failure.transaction === 'opening' ? AGAIN : SERIALIZATION;
  }
  if (failure.transaction === 'committing') return failure.undone ? SERIALIZATION : UNKNOWN;
  if (failure.transaction === 'open') return SERIALIZATION;
  if (failure.work === 'read') return mayRunAgain(failure) ? RETRY_ELSEWHERE : SERIALIZATION;
  return failure.transaction === 'opening' || failure.undone ? SERIALIZATION : UNKNOWN;
}

function afterError(failure: Failure, error: ServerError): Recovery {
  if (isShutdown(error)) return afterLoss(failure);
  if (failure.role === 'leader' || failure.work !== 'read' || failure.transaction === 'committing') return PASS_ON;
  if (failure.transaction === 'open' || !mayRunAgain(failure)) return PASS_ON;
  if (isRecoveryConflict(error)) return RETRY_ELSEWHERE;
  // In an explicit READ ONLY transaction a refused write is the client's own error.
  if (failure.transaction === 'opening') return PASS_ON;
  return whatOnlyTheLeaderDoes(error) ?? PASS_ON;
}

function mayRunAgain(failure: Failure): boolean {
  return !failure.passedOn && failure.attempts < MAX_ATTEMPTS;
}

/** admin_shutdown, crash_shutdown, cannot_connect_now: the server ends the connection whatever was asked. */
function isShutdown(error: ServerError): boolean {
  return error.sqlState === '57P01' || error.sqlState === '57P02' || error.sqlState === '57P03';
}

/**
 * A standby knows neither SERIALIZABLE nor row locks, so these two mean that replay had to cancel the query
 * (ProcessRecoveryConflictInterrupt in src/backend/tcop/postgres.c). A function that raises one by itself is
 * run again too: it is a read, and harmless.
 */
function isRecoveryConflict(error: ServerError): boolean {
  return error.sqlState === '40001' || error.sqlState === '40P01';
}

/**
 * read_only_sql_transaction: it is a write after all. feature_not_supported from get_relation_info: a temporary or unlogged
 * relation (src/backend/optimizer/util/plancat.c). object_not_in_prerequisite_state: "recovery is in progress".
 */
function whatOnlyTheLeaderDoes(error: ServerError): Recovery | null {
  switch (error.sqlState) {
    case '25006':
      return LEARN_WRITE;
    case '0A000':
      return error.routine === 'get_relation_info' ? LEARN_WRITE : RETRY_ON_LEADER;
    case '55000':
      return RETRY_ON_LEADER;
    default:
      return null;
  }
}
