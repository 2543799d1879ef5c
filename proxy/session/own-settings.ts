import { ClientError } from '../../common/errors.ts';
import type { ConsistencyLevel } from '../routing/choose-node.ts';
import type { StatementInfo } from '../sql/types.ts';
import type { Session } from './session.ts';

/** What the proxy answers to SHOW or SET of one of its own settings. */
export interface OwnAnswer {
  readonly tag: string;
  /** SHOW: the column's name and its value. */
  readonly column?: string;
  readonly value?: string;
  readonly error?: ClientError;
}

const PREFIX = 'leasehold.';
const LEVELS: readonly ConsistencyLevel[] = ['eventual', 'session', 'database', 'strong'];

export function isOwnSetting(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** Null when the statement is about something else. `dryRun`: only described, not executed. */
export function answerOwnSetting(session: Session, statement: StatementInfo, dryRun = false): OwnAnswer | null {
  if ((statement.kind !== 'set' && statement.kind !== 'show') || !isOwnSetting(statement.name)) return null;
  const { name } = statement;
  if (statement.kind === 'show') {
    const value = readOwn(session, name);
    return value === null ? { tag: 'SHOW', error: unknown(name) } : { tag: 'SHOW', column: name, value };
  }
  const tag = statement.value === null ? 'RESET' : 'SET';
  if (dryRun) return { tag };
  try {
    setOwn(session, name, statement.value);
    return { tag };
  } catch (error) {
    if (error instanceof ClientError) return { tag, error };
    throw error;
  }
}

/** Sets one of the proxy's own settings; null: back to the configuration's. Not undone by ROLLBACK. Throws ClientError 22023. */
export function setOwn(
  session: { level: ConsistencyLevel; readonly scoped: Session['scoped'] },
  name: string,
  value: string | null,
): void {
  if (name !== 'leasehold.consistency') throw unknown(name);
  session.level = value === null ? session.scoped.consistency : parseLevel(value);
}

export function parseLevel(text: string): ConsistencyLevel {
  const level = LEVELS.find((each) => each === text.toLowerCase());
  if (level !== undefined) return level;
  throw new ClientError({
    sqlState: '22023',
    message: `invalid value for parameter "leasehold.consistency": "${text}"`,
    hint: `Available values: ${LEVELS.join(', ')}.`,
  });
}

function readOwn(session: Session, name: string): string | null {
  switch (name) {
    case 'leasehold.consistency':
      return session.level;
    case 'leasehold.node':
      return session.backend?.place.node ?? session.floor.lastNode ?? '';
    case 'leasehold.version':
      return session.context.version;
    default:
      return null;
  }
}

function unknown(name: string): ClientError {
  return new ClientError({
    sqlState: '42704',
    message: `unrecognized configuration parameter "${name}"`,
    hint: 'The proxy knows leasehold.consistency, leasehold.node (SHOW) and leasehold.version (SHOW).',
  });
}
