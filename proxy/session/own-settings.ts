import { ClientError } from '../../common/errors.ts';
import { formatDuration, isOwnSetting, unknownSetting } from '../routing/own-settings.ts';
import { readyStatus } from '../routing/transaction.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import { noticeResponse } from '../wire/encode.ts';
import { explainColumns, explainRoute } from './explain-route.ts';
import type { Session } from './session.ts';
import { reachToken, showToken } from './token.ts';

/** A statement that the proxy answers from what it knows: SHOW, SET and RESET of its own settings, EXPLAIN (ROUTE). */
export type OwnStatement = StatementInfo & { readonly kind: 'set' | 'show' | 'explain-route' };

/** Rows of text with their columns, or only a tag. */
export interface OwnAnswer {
  readonly tag: string;
  readonly rows: readonly (readonly string[])[];
}

export const TOKEN = 'leasehold.token';

/** The text's statement, if it is one of the proxy's own and stands alone. EXPLAIN (ROUTE) explains all that follows it. */
export function ownStatement(classification: Classification): OwnStatement | null {
  const statement = classification.statements[0];
  if (statement === undefined) return null;
  if (statement.kind === 'explain-route') return statement;
  return classification.statements.length === 1 && isOwn(statement) ? statement : null;
}

function isOwn(statement: StatementInfo): statement is OwnStatement {
  return (statement.kind === 'set' || statement.kind === 'show') && isOwnSetting(statement.name);
}

/** Why a text with statements of the proxy's own among others cannot run; null: it has none, or none that are in the way. */
export function refusalAmongOthers(session: Session, classification: Classification): ClientError | null {
  for (const statement of classification.statements) {
    if (statement.kind === 'explain-route') return alone('EXPLAIN (ROUTE)');
    if (!isOwn(statement)) continue;
    if (statement.kind === 'show') return alone(`SHOW ${statement.name}`);
    if (statement.kind === 'set' && statement.name === TOKEN) return alone('SET leasehold.token');
    if (statement.kind === 'set') session.settings.checkOwn(statement.name, statement.value);
  }
  return null;
}

function alone(what: string): ClientError {
  return new ClientError({
    sqlState: '0A000',
    message: `${what} cannot stand among other statements`,
    hint: 'The proxy answers it, the others are a server’s: send it by itself.',
  });
}

/** The columns of its answer; null: it has none. */
export function columnsOf(statement: OwnStatement): readonly string[] | null {
  if (statement.kind === 'explain-route') return explainColumns();
  if (statement.column !== undefined) return [statement.column];
  return statement.kind === 'show' ? [statement.name] : null;
}

/** Carries it out. `text` is what the statement's offsets count in. Throws, or rejects with, ClientError. */
export function answerOwn(session: Session, statement: OwnStatement, text: Buffer): OwnAnswer | Promise<OwnAnswer> {
  if (statement.kind === 'explain-route') return explainRoute(session, text, statement);
  const { name, column } = statement;
  const one = (value: string): OwnAnswer => ({
    tag: column === undefined ? 'SHOW' : 'SELECT 1',
    rows: [[value]],
  });
  if (statement.kind === 'show') {
    if (name === TOKEN) return waiting(session, (signal) => showToken(session, signal)).then(one);
    return one(readOwn(session, name));
  }
  const { value, local } = statement;
  const setAnswer = (): OwnAnswer =>
    column === undefined ? { tag: value === null ? 'RESET' : 'SET', rows: [] } : one(value ?? readOwn(session, name));
  if (name === TOKEN && value !== null) {
    return waiting(session, (signal) => reachToken(session, value, signal)).then(setAnswer);
  }
  if (name !== TOKEN) ownSet(session, name, value, local); // RESET of a floor: it is never lowered
  return setAnswer();
}

/** SET of one of the proxy's own but the token; undone by ROLLBACK as PostgreSQL's are. Throws ClientError. */
export function ownSet(session: Session, name: string, value: string | null, local: boolean): void {
  const { settings, transaction, out } = session;
  if (transaction.kind === 'deferred') settings.beginTransaction();
  settings.setOwn(name, value, local);
  if (!local || transaction.kind !== 'idle') return;
  const message = 'SET LOCAL can only be used in transaction blocks';
  out.send(noticeResponse({ severity: 'WARNING', sqlState: '25P01', message }));
}

function readOwn(session: Session, name: string): string {
  switch (name) {
    case 'leasehold.consistency':
      return session.level;
    case 'leasehold.max_staleness':
      return formatDuration(session.maxStalenessMs);
    case 'leasehold.causal_wait':
      return formatDuration(session.causalWaitMs);
    case 'leasehold.node':
      return session.backend?.place.node ?? session.servedBy ?? '';
    case 'leasehold.version':
      return session.context.version;
    default:
      throw unknownSetting(name);
  }
}

/** The session's input waits meanwhile; a cancel request, or the client's leaving, ends the waiting. */
async function waiting<T>(session: Session, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  session.phase = 'placing';
  session.waiting = abort;
  session.waitingFor = 'leader';
  session.waitingSinceMs = session.context.clock.nowMs();
  try {
    return await work(abort.signal);
  } finally {
    session.waiting = null;
    session.waitingFor = null;
  }
}

/** Whether the transaction's state lets it be answered: in a failed one nothing is. */
export function inFailed(session: Session): boolean {
  return readyStatus(session.transaction) === 'E';
}
