import type { Backend } from '../pool/backend.ts';
import { exchangeInternal } from '../pool/internal-query.ts';
import { ClientError } from '../../common/errors.ts';
import { bind, close, describe, execute, parse, SYNC } from '../wire/encode.ts';
import { columnsOf, unprovenOn } from './described.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import type { Prepared } from './prepared.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** One statement that a server is told before the unit: messages without their Sync, and what holds afterwards. */
export interface AlignStep {
  readonly messages: readonly Buffer[];
  readonly done: () => void;
  /** Messages end with a Describe: what it says of the columns, null where that is too long to be compared. */
  readonly described?: (columns: string | null) => void;
  /** Nothing rests on it: where the server refuses it, it is left out. */
  readonly optional?: true;
}

/** As identities: equals no statement's, so whoever mentions the name has it taken away first. */
export const NOBODYS = '';
/** The session's own, which the proxy cannot say again: it stays where it is. */
export const LEFT = 'L';

/** What a server has under a client's name: equal keys mean the same statement. */
export function identityOf(prepared: Prepared): string {
  const { sql, environment, parse: message, textStart } = prepared;
  // Of a statement of the protocol: text and types, without the name that servers have it under.
  return sql === null
    ? `P${environment}\0${message.toString('latin1', textStart)}`
    : `S${environment}\0${sql.toString('latin1')}`;
}

/**
 * What is missing so that every SQL-level name in the unit means on this server what it means to the session: also that
 * nothing has a name which the client has not given. Null: nothing.
 */
export function alignment(session: Session, unit: Unit, backend: Backend): AlignStep[] | null {
  const { statements } = backend;
  if (unit.plan.listsStatements) return exactly(session, unit, backend);
  const unproven = unprovenOn(backend, unit);
  if (unproven === null && unit.named === null && !statements.unknown && (unit.complete || !session.statements.anySql))
    return null;
  const steps: AlignStep[] = [];
  const wiped = statements.unknown;
  if (wiped) steps.push(wipe(backend));
  if (unit.named !== null) {
    for (const [name, wanted] of unit.named) {
      // What the unit itself parses will say there what is wrong with it.
      const ofUnit = unit.entries.some(({ kind, prepared }) => kind === 'parse' && prepared === wanted);
      alignName(session, backend, name, wanted, wiped, steps, ofUnit);
    }
  }
  if (!unit.complete && session.statements.anySql) {
    // More may come while it is there, when nothing can be put in between.
    for (const [name, prepared] of session.statements.named) {
      if (prepared.sql !== null && unit.named?.has(name) !== true)
        alignName(session, backend, name, prepared, wiped, steps, true);
    }
  }
  for (const prepared of unproven ?? []) prove(session, unit, backend, prepared, steps);
  return steps.length === 0 ? null : steps;
}

/** Makes a statement anew, and finds out whether it still is what the client was told. */
function prove(session: Session, unit: Unit, backend: Backend, prepared: Prepared, steps: AlignStep[]): void {
  const { serverName } = prepared;
  const max = session.context.config.pool.maxPreparedStatements;
  const evicted = backend.statements.toEvict(max);
  if (evicted !== null) steps.push(release(backend, evicted));
  const done = (): void => backend.statements.touch(serverName);
  const described = (columns: string | null): void => {
    if (columns !== null && columns !== prepared.told) unit.changed = [...(unit.changed ?? []), prepared];
  };
  steps.push({ messages: [prepared.parse, describe('S', serverName)], done, described });
}

function alignName(
  session: Session,
  backend: Backend,
  name: string,
  wanted: Prepared | null,
  wiped: boolean,
  steps: AlignStep[],
  optional = false,
): void {
  const { statements } = backend;
  const has = wiped ? undefined : statements.clientNames.get(name);
  const identity = wanted === null ? undefined : identityOf(wanted);
  if (has === LEFT && wanted === null) return;
  if (has === identity && (wiped || !statements.has(name))) {
    if (identity !== undefined && !wiped) statements.touchName(name);
    return;
  }
  if (has !== undefined || (!wiped && statements.has(name))) steps.push(release(backend, name));
  if (wanted === null || identity === undefined) return;
  const max = session.context.config.pool.maxPreparedStatements;
  const evicted = wiped ? null : statements.nameToEvict(max, name);
  if (evicted !== null) steps.push(release(backend, evicted));
  const step = make(backend, name, wanted, identity);
  steps.push(optional ? { ...step, optional } : step);
}

/** pg_prepared_statements shows the statements of the client, and of nobody else. What it has there stays, with its plans. */
function exactly(session: Session, unit: Unit, backend: Backend): AlignStep[] | null {
  const { statements } = backend;
  const named = new Map(session.statements.named);
  // As it was before the unit, which may make and take away some itself.
  for (const [name, prepared] of unit.named ?? []) {
    if (prepared === null) named.delete(name);
    else named.set(name, prepared);
  }
  const kept = new Set<string>();
  for (const [name, identity] of statements.unknown ? [] : statements.clientNames) {
    const prepared = named.get(name);
    if (prepared === undefined ? identity === LEFT : identity === identityOf(prepared)) kept.add(name);
  }
  const steps: AlignStep[] = [];
  if (kept.size === 0) {
    if (statements.unknown || statements.size > 0 || statements.clientNames.size > 0) steps.push(wipe(backend));
  } else {
    for (const name of statements.names()) steps.push(release(backend, name));
    for (const name of statements.clientNames.keys()) if (!kept.has(name)) steps.push(release(backend, name));
  }
  for (const [name, prepared] of named) {
    // A table that it names may be gone, and all that is lost then is its row.
    if (!kept.has(name)) steps.push({ ...make(backend, name, prepared, identityOf(prepared)), optional: true });
  }
  return steps.length === 0 ? null : steps;
}

function wipe(backend: Backend): AlignStep {
  return { messages: sqlMessages('DEALLOCATE ALL'), done: () => backend.statements.clear() };
}

function release(backend: Backend, name: string): AlignStep {
  const done = (): void => {
    backend.statements.delete(name);
    backend.statements.clientNames.delete(name);
  };
  return { messages: [close('S', name)], done };
}

function make(backend: Backend, name: string, prepared: Prepared, identity: string): AlignStep {
  const { sql, parse: message, textStart, textEnd } = prepared;
  const done = (): void => {
    backend.statements.clientNames.set(name, identity);
  };
  // What a first try of several may have left there goes first.
  const free = close('S', name);
  if (sql !== null) return { messages: [free, ...sqlMessages(sql)], done };
  return {
    messages: [free, parse(name, message.subarray(textStart, textEnd), message.subarray(textEnd + 1))],
    done,
  };
}

/** Names of the proxy's own, so that the client's unnamed statement and portal stay as they are. */
const OWN = 'leasehold: own';

export function sqlMessages(sql: Buffer | string): Buffer[] {
  return [
    // What an earlier failure left there goes first.
    close('P', OWN),
    close('S', OWN),
    parse(OWN, Buffer.from(sql)),
    bind(OWN, OWN),
    execute(OWN),
    close('P', OWN),
    close('S', OWN),
  ];
}

/**
 * Tells the server. Rejects with its error: then it is not known what it has, and the next use starts with a
 * clean one. Or with BACKEND_LOST, BACKEND_TIMEOUT. What is optional fails without that, and without harm to the transaction that is `open`.
 */
export async function align(backend: Backend, steps: readonly AlignStep[], open: boolean): Promise<void> {
  const needed = steps.filter(({ optional }) => optional !== true);
  const optional = steps.filter((step) => step.optional === true);
  backend.statements.unknown = true;
  if (needed.length > 0) await tell(backend, needed);
  const made = optional.length === 0 ? optional : await tellSome(backend, optional, open);
  backend.statements.unknown = false;
  for (const { done } of needed) done();
  for (const { done } of made) done();
}

async function tell(backend: Backend, steps: readonly AlignStep[]): Promise<void> {
  const messages = Buffer.concat([...steps.flatMap((step) => step.messages), SYNC]);
  const asked = steps.filter(({ described }) => described !== undefined);
  await exchangeInternal(backend, messages, INTERNAL_TIMEOUT_MS, undefined, (buffer, start, end) => {
    asked.shift()?.described?.(columnsOf(buffer, start, end));
  });
}

/** All at once, and if that fails one by one. Returns those that the server has taken. */
async function tellSome(backend: Backend, steps: readonly AlignStep[], open: boolean): Promise<readonly AlignStep[]> {
  if (await takes(backend, steps, open)) return steps;
  if (steps.length === 1) return [];
  const made: AlignStep[] = [];
  for (const step of steps) if (await takes(backend, [step], open)) made.push(step);
  return made;
}

const SAVEPOINT = 'leasehold_own';
const step = (sql: string): AlignStep => ({ messages: sqlMessages(sql), done: () => undefined });
const ENTER = step(`SAVEPOINT ${SAVEPOINT}`);
const LEAVE = step(`RELEASE ${SAVEPOINT}`);
const UNDO = step(`ROLLBACK TO ${SAVEPOINT}`);

async function takes(backend: Backend, steps: readonly AlignStep[], open: boolean): Promise<boolean> {
  try {
    await tell(backend, open ? [ENTER, ...steps, LEAVE] : steps);
    return true;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    if (open) await tell(backend, [UNDO, LEAVE]);
    return false;
  }
}
