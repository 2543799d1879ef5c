import { ownBytes } from '../../common/own-bytes.ts';
import type { SessionSettings } from '../routing/settings.ts';
import { prepareBody } from '../sql/body.ts';
import type { Classification, StatementInfo } from '../sql/types.ts';
import { isTracked, planOf } from './plan.ts';
import { type Prepared, textOf } from './prepared.ts';
import { type ClientStatements, reclassify, type Unit, type UnitScope } from './unit.ts';

/**
 * SQL-level PREPARE, EXECUTE and DEALLOCATE. PostgreSQL has one namespace for these and the statements of the protocol, and so
 * has `ClientStatements`. A server gets such a statement under the client's own name, just before a unit that names it
 * (`align.ts`); so no text is ever changed, and every error has its own position.
 */

/**
 * What decides what a text means beside the text: where its names are looked up and by whom, how its literals are read. A constant such
 * as '2020-02-03 04:05'::timestamptz is made when the statement is prepared.
 */
const MEANING = [
  'search_path',
  'role',
  'session_authorization',
  'row_security',
  'client_encoding',
  'standard_conforming_strings',
  'backslash_quote',
  'timezone',
  'timezone_abbreviations',
  'datestyle',
  'intervalstyle',
  'lc_monetary',
  'array_nulls',
  'transform_null_equals',
  'xmloption',
  'default_text_search_config',
] as const;

/** The values of `MEANING` that the session has set; '' for none. */
export function environmentOf(settings: SessionSettings): string {
  let environment = '';
  for (const name of MEANING) {
    const value = settings.valueOf(name);
    if (value !== undefined) environment += `${name}=${value}\u0001`;
  }
  return environment;
}

/** Notes what the names of this statement mean now, before anything in the unit changes that. */
export function mention(unit: Unit, classification: Classification, statements: ClientStatements): void {
  const { names } = planOf(classification);
  if (names !== null) for (const name of names) mentionName(unit, name, statements);
}

export function mentionName(unit: Unit, name: string, statements: ClientStatements): void {
  unit.named ??= new Map();
  const now = statements.named.get(name) ?? null;
  if (!unit.named.has(name) || (now?.sql === null && unit.named.get(name) === null && unit.used?.has(name) !== true))
    unit.named.set(name, now); // a Parse of the same unit has given it, and nothing can have used it before
}

/** The names of what is executed, and not only prepared. */
export function use(unit: Unit, classification: Classification): void {
  const { names } = planOf(classification);
  if (names === null) return;
  unit.used ??= new Set();
  for (const name of names) unit.used.add(name);
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
      if (statements.named.has(name)) return null; // the server will say so
      statements.anySql = true;
      statements.named.set(name, sqlPrepared(statement, textOf(by), true, scope));
      return () => statements.remove(name);
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
  statements.remove(name);
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

/**
 * A PREPARE within `text`, which a server has accepted or will have to. `alone`: the text is nothing else, and is kept as it is, since
 * PostgreSQL shows it so (pg_prepared_statements) and counts an error's position in it.
 */
export function sqlPrepared(
  statement: StatementInfo & { readonly kind: 'prepare' },
  text: Buffer,
  alone: boolean,
  scope: UnitScope,
): Prepared {
  const from = alone ? 0 : statement.start;
  const sql = ownBytes(alone ? text : text.subarray(from, statement.end));
  const bodyStart = statement.start < 0 ? prepareBody(sql, 0, sql.length) : statement.bodyStart - from;
  const bodyEnd = statement.start < 0 ? sql.length : statement.bodyEnd - from;
  return {
    serverName: statement.name,
    told: null,
    sql,
    environment: scope.environment,
    parse: NOTHING,
    textStart: bodyStart,
    textEnd: bodyEnd,
    classification: scope.classify(sql.subarray(bodyStart, bodyEnd)),
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
