import type { SessionSettings } from '../routing/settings.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import { isTracked, planOf } from './plan.ts';
import { type Prepared, textOf } from './prepared.ts';
import { type ClientStatements, reclassify, type Unit, type UnitScope } from './unit.ts';

/**
 * SQL-level PREPARE, EXECUTE and DEALLOCATE. PostgreSQL has one namespace for these and the statements of the protocol, and so
 * has `ClientStatements`. A server gets such a statement under the client's own name, just before a unit that names it
 * (`align.ts`); so no text is ever changed, and every error has its own position.
 */

/** What decides what a text means beside the text. */
export function environmentOf(settings: SessionSettings): string {
  const path = settings.valueOf('search_path');
  const role = settings.valueOf('role');
  const user = settings.valueOf('session_authorization');
  return path === undefined && role === undefined && user === undefined ? '' : `${path}\u0001${role}\u0001${user}`;
}

/** Notes what the names of this statement mean now, before anything in the unit changes that. */
export function mention(unit: Unit, classification: Classification, statements: ClientStatements): void {
  const { names } = planOf(classification);
  if (names !== null) for (const name of names) mentionName(unit, name, statements);
}

export function mentionName(unit: Unit, name: string, statements: ClientStatements): void {
  unit.named ??= new Map();
  if (!unit.named.has(name)) unit.named.set(name, statements.named.get(name) ?? null);
}

/**
 * PREPARE and DEALLOCATE by the extended protocol take effect when their Execute comes, since what follows in the pipeline
 * may rest on them. Returns what takes that back if the server never carries it out.
 */
export function applySql(
  statement: StatementInfo,
  by: Prepared,
  statements: ClientStatements,
  scope: UnitScope,
): (() => void) | null {
  switch (statement.kind) {
    case 'prepare': {
      const { name } = statement;
      if (statement.start < 0 || statements.named.has(name)) return null; // the server will say so
      statements.anySql = true;
      statements.named.set(name, sqlPrepared(statement, textOf(by), scope));
      return () => statements.named.delete(name);
    }
    case 'deallocate':
      return statement.name === null ? takeAll(statements) : takeOne(statements, statement.name);
    case 'discard':
      return statement.what === 'all' ? takeAll(statements) : null;
    default:
      return null;
  }
}

function takeOne(statements: ClientStatements, name: string): (() => void) | null {
  const prepared = statements.named.get(name);
  if (prepared === undefined) return null;
  statements.named.delete(name);
  return () => {
    if (!statements.named.has(name)) statements.named.set(name, prepared);
  };
}

function takeAll(statements: ClientStatements): () => void {
  const before = [...statements.named];
  statements.clear();
  return () => {
    for (const [name, prepared] of before) if (!statements.named.has(name)) statements.named.set(name, prepared);
  };
}

/** A PREPARE within `text`, which a server has accepted or will have to. */
export function sqlPrepared(
  statement: StatementInfo & { readonly kind: 'prepare' },
  text: Buffer,
  scope: UnitScope,
): Prepared {
  const { start, end, bodyStart, bodyEnd } = statement;
  // Offsets are of bytes, and the text is valid UTF-8, or the statement had none.
  const bytes = text.subarray(start, end);
  return {
    serverName: statement.name,
    told: null,
    sql: bytes.toString('utf8'),
    environment: scope.environment,
    parse: NOTHING,
    textStart: bodyStart - start,
    textEnd: bodyEnd - start,
    classification: scope.classify(text.subarray(bodyStart, bodyEnd)),
    catalogVersion: scope.catalogVersion,
  };
}

const NOTHING = Buffer.alloc(0);

/** EXECUTE goes where the prepared text would go: adds that to the plan of the unit. */
export function widenByExecuted(unit: Unit, statements: ClientStatements, scope: UnitScope): void {
  const { executes } = unit.plan;
  if (executes === null) return;
  for (const name of executes) {
    const prepared = statements.named.get(name) ?? unit.named?.get(name);
    if (prepared === undefined || prepared === null) continue;
    if (prepared.catalogVersion !== scope.catalogVersion) reclassify(prepared, scope);
    const { key } = unit;
    unit.widen(prepared.classification);
    // A prepared set_config: its effect is not followed, so it stays where it is.
    if (prepared.classification.statements.some(isTracked))
      unit.plan = { ...unit.plan, pins: [...unit.plan.pins, 'session-state'] };
    // A refusal by a follower teaches about the prepared text where the unit is nothing but its EXECUTE.
    if (unit.simple === null || unit.simple.statements.length !== 1) unit.key = key;
  }
}
