import type { Backend } from '../pool/backend.ts';
import { exchangeInternal } from '../pool/internal-query.ts';
import { bind, close, describe, execute, parse, SYNC } from '../wire/encode.ts';
import { columnsOf, unprovenOn } from './described.ts';
import { INTERNAL_TIMEOUT_MS } from './limits.ts';
import { onlyStatement } from './outcome.ts';
import type { Prepared } from './prepared.ts';
import type { Session } from './session.ts';
import type { Unit } from './unit.ts';

/** One statement that a server is told before the unit: messages without their Sync, and what holds afterwards. */
export interface AlignStep {
  readonly messages: readonly Buffer[];
  readonly done: () => void;
  /** Messages end with a Describe: what it says of the columns, null where that is too long to be compared. */
  readonly described?: (columns: string | null) => void;
}

/** What a server has under a client's name: equal keys mean the same statement. */
export function identityOf(prepared: Prepared): string {
  const { sql, environment, parse: message, textStart } = prepared;
  // Of a statement of the protocol: text and types, without the name that servers have it under.
  return sql === null ? `P${environment}\0${message.toString('latin1', textStart)}` : `S${environment}\0${sql}`;
}

/**
 * What is missing so that every SQL-level name in the unit means on this server what it means to the session: also that
 * nothing has a name which the client has not given. Null: nothing.
 */
export function alignment(session: Session, unit: Unit, backend: Backend): AlignStep[] | null {
  const { statements } = backend;
  if (unit.plan.listsStatements) return exactly(session, backend);
  const wipes = wipesMidway(unit);
  const unproven = unprovenOn(backend, unit);
  if (
    unproven === null &&
    unit.named === null &&
    !wipes &&
    !statements.unknown &&
    (unit.complete || !session.statements.anySql)
  )
    return null;
  const steps: AlignStep[] = [];
  if (statements.unknown || wipes) steps.push(wipe(backend));
  const wiped = steps.length > 0;
  if (unit.named !== null) {
    for (const [name, wanted] of unit.named) alignName(session, backend, name, wanted, wiped, steps);
  }
  if (!unit.complete && session.statements.anySql) {
    // More may come while it is there, when nothing can be put in between.
    for (const [name, prepared] of session.statements.named) {
      if (prepared.sql !== null && unit.named?.has(name) !== true)
        alignName(session, backend, name, prepared, wiped, steps);
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

/** DEALLOCATE ALL or DISCARD ALL in the middle of other work: what the server has afterwards depends on how far it comes. */
export function wipesMidway(unit: Unit): boolean {
  return unit.plan.deallocates && unit.simple === null && onlyStatement(unit) === null;
}

function alignName(
  session: Session,
  backend: Backend,
  name: string,
  wanted: Prepared | null,
  wiped: boolean,
  steps: AlignStep[],
): void {
  const { statements } = backend;
  const has = wiped ? undefined : statements.clientNames.get(name);
  const identity = wanted === null ? undefined : identityOf(wanted);
  if (has === identity && (wiped || !statements.has(name))) {
    if (identity !== undefined && !wiped) statements.touchName(name);
    return;
  }
  if (has !== undefined || (!wiped && statements.has(name))) steps.push(release(backend, name));
  if (wanted === null || identity === undefined) return;
  const max = session.context.config.pool.maxPreparedStatements;
  const evicted = wiped ? null : statements.nameToEvict(max, name);
  if (evicted !== null) steps.push(release(backend, evicted));
  steps.push(make(backend, name, wanted, identity));
}

/** pg_prepared_statements shows the statements of the client, and of nobody else. */
function exactly(session: Session, backend: Backend): AlignStep[] {
  const steps = [wipe(backend)];
  for (const [name, prepared] of session.statements.named)
    steps.push(make(backend, name, prepared, identityOf(prepared)));
  return steps;
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
  if (sql !== null) return { messages: sqlMessages(sql), done };
  return { messages: [parse(name, message.subarray(textStart, textEnd), message.subarray(textEnd + 1))], done };
}

/** Names of the proxy's own, so that the client's unnamed statement and portal stay as they are. */
const OWN = 'leasehold: own';

function sqlMessages(sql: string): Buffer[] {
  // What an earlier failure left there goes first.
  return [
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
 * clean one. Or with BACKEND_LOST, BACKEND_TIMEOUT.
 */
export async function align(backend: Backend, steps: readonly AlignStep[]): Promise<void> {
  backend.statements.unknown = true;
  const messages = Buffer.concat([...steps.flatMap((step) => step.messages), SYNC]);
  const asked = steps.filter(({ described }) => described !== undefined);
  await exchangeInternal(backend, messages, INTERNAL_TIMEOUT_MS, undefined, (buffer, start, end) => {
    asked.shift()?.described?.(columnsOf(buffer, start, end));
  });
  backend.statements.unknown = false;
  for (const { done } of steps) done();
}
