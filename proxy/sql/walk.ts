import { builtinVerdict, isNodeRelation, isTemporarySchema, pinOfFunction } from './functions.ts';
import type { Tree } from './parser.ts';
import type { PinReason } from './types.ts';

/** Something whose volatility only the catalog knows. */
export interface Reference {
  readonly kind: 'function' | 'operator' | 'type' | 'relation' | 'attribute';
  readonly schema: string | null;
  readonly name: string;
}

/** What is in a statement, at any depth. */
export interface Facts {
  /** Why only the leader may run it, whatever the catalog or a hint says; the first reason found. */
  leader: string | null;
  /** Why it is about a node (`system_catalogs`). */
  node: string | null;
  /** It reads pg_prepared_statements. */
  listsStatements: boolean;
  /** It may give back an advisory lock of the session. */
  unlocks: boolean;
  locks: boolean;
  readonly references: Reference[];
  readonly pins: Set<PinReason>;
}

/** References of one statement that are looked up; one with more goes to the leader. */
const MAX_REFERENCES = 2000;

/**
 * Looks at every node below `root`. A loop with its own stack: the tree of a long chain of operators is as deep
 * as the chain is long.
 */
export function factsOf(root: unknown): Facts {
  const facts: Facts = {
    leader: null,
    node: null,
    listsStatements: false,
    unlocks: false,
    locks: false,
    references: [],
    pins: new Set(),
  };
  const seen = new Set<string>();
  const stack: unknown[] = [root];
  while (stack.length > 0) {
    const value = stack.pop();
    if (Array.isArray(value)) {
      for (const item of value) if (typeof item === 'object' && item !== null) stack.push(item);
    } else if (isTree(value)) {
      for (const key in value) {
        const child = value[key];
        if (typeof child !== 'object' || child === null) continue;
        visit(facts, seen, key, child as Tree);
        stack.push(child);
      }
    }
  }
  return facts;
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function visit(facts: Facts, seen: Set<string>, key: string, node: Tree): void {
  switch (key) {
    case 'FuncCall':
      visitCall(facts, seen, node);
      return;
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      lead(facts, 'write');
      visitTarget(facts, node);
      return;
    case 'lockingClause':
      lead(facts, 'locking-read');
      return;
    case 'intoClause':
      visitInto(facts, node);
      return;
    case 'A_Expr':
      refer(facts, seen, 'operator', node['name']);
      return;
    case 'SubLink':
      refer(facts, seen, 'operator', node['operName']);
      return;
    case 'SortBy':
      refer(facts, seen, 'operator', node['useOp']);
      return;
    case 'typeName':
    case 'TypeName':
      refer(facts, seen, 'type', node['names']);
      return;
    case 'ColumnRef':
      // `t.f` may be the call f(t).
      if (Array.isArray(node['fields']) && node['fields'].length > 1) refer(facts, seen, 'attribute', node['fields']);
      return;
    case 'A_Indirection':
      if (Array.isArray(node['indirection']))
        for (const step of node['indirection']) refer(facts, seen, 'attribute', [step]);
      return;
    case 'RangeTableSample':
      visitSample(facts, node);
      return;
    default:
      if (typeof node['relname'] === 'string') visitRelation(facts, seen, node['relname'], node['schemaname']);
  }
}

function visitCall(facts: Facts, seen: Set<string>, node: Tree): void {
  const { schema, name } = nameOf(node['funcname']);
  const verdict = builtinVerdict(schema, name);
  if (verdict === 'leader') lead(facts, `volatile-function:${name}`);
  else if (verdict === 'node') facts.node ??= `system-function:${name}`;
  else refer(facts, seen, 'function', node['funcname']);
  if (name.startsWith('pg_advisory_unlock')) facts.unlocks = true;
  else if (/^pg_(?:try_)?advisory_/.test(name)) facts.locks = true;
  if (name === 'pg_prepared_statement') facts.listsStatements = true;
  const pin = pinOfFunction(schema, name);
  if (pin !== null) facts.pins.add(pin);
  if (name === 'set_config' && !isLocalSetConfig(node['args'])) facts.pins.add('session-state');
}

function visitRelation(facts: Facts, seen: Set<string>, name: string, schemaName: unknown): void {
  const schema = typeof schemaName === 'string' ? schemaName : null;
  if (schema !== null && isTemporarySchema(schema)) lead(facts, 'temporary-objects');
  if (name === 'pg_prepared_statements') facts.listsStatements = true;
  if (isNodeRelation(schema, name)) facts.node ??= `system-catalog:${name}`;
  add(facts, seen, { kind: 'relation', schema, name });
}

/** `UPDATE pg_settings` is a SET that nobody records. */
function visitTarget(facts: Facts, node: Tree): void {
  const relation = node['relation'];
  if (isTree(relation) && relation['relname'] === 'pg_settings') facts.pins.add('session-state');
}

/** SELECT INTO writes a table, maybe a temporary one. */
function visitInto(facts: Facts, node: Tree): void {
  lead(facts, 'ddl-relation');
  if (isTemporaryRelation(node['rel'])) facts.pins.add('temporary-objects');
}

/** A RangeVar that names, or would make, a temporary relation. */
export function isTemporaryRelation(relation: unknown): boolean {
  if (!isTree(relation)) return false;
  const schema = relation['schemaname'];
  return relation['relpersistence'] === 't' || (typeof schema === 'string' && isTemporarySchema(schema));
}

function visitSample(facts: Facts, node: Tree): void {
  const { name } = nameOf(node['method']);
  if (name !== 'system' && name !== 'bernoulli') lead(facts, `volatile-function:${name}`);
}

function lead(facts: Facts, reason: string): void {
  facts.leader ??= reason;
}

function refer(facts: Facts, seen: Set<string>, kind: Reference['kind'], list: unknown): void {
  const { schema, name } = nameOf(list);
  if (name !== '') add(facts, seen, { kind, schema: kind === 'attribute' ? null : schema, name });
}

function add(facts: Facts, seen: Set<string>, reference: Reference): void {
  const key = `${reference.kind} ${reference.schema ?? ''} ${reference.name}`;
  if (seen.has(key)) return;
  if (seen.size >= MAX_REFERENCES) {
    lead(facts, 'too-complex');
    return;
  }
  seen.add(key);
  facts.references.push(reference);
}

/** The last two of a list of String nodes; anything else in it (`*`, a subscript) counts as no name. */
export function nameOf(list: unknown): { readonly schema: string | null; readonly name: string } {
  if (!Array.isArray(list)) return { schema: null, name: '' };
  const name = stringOf(list[list.length - 1]) ?? '';
  return { schema: list.length > 1 ? stringOf(list[list.length - 2]) : null, name };
}

export function stringOf(node: unknown): string | null {
  if (!isTree(node) || !isTree(node['String'])) return null;
  const text = node['String']['sval'];
  return typeof text === 'string' ? text : '';
}

/** Whether the third argument is certainly true: the setting is gone with the transaction. */
function isLocalSetConfig(args: unknown): boolean {
  return Array.isArray(args) && constantText(args[2]) === 'true';
}

/** A field that is a string; protocol buffers leave out empty ones. */
export function textIn(node: Tree, field: string): string {
  const value = node[field];
  return typeof value === 'string' ? value : '';
}

/** The text of a constant, as SET and set_config take it; null: it is none, or it is NULL. */
export function constantText(node: unknown): string | null {
  if (!isTree(node)) return null;
  const constant = node['A_Const'];
  if (!isTree(constant)) return null;
  // Protocol buffers leave out zero, false and empty.
  if (isTree(constant['sval'])) return textIn(constant['sval'], 'sval');
  if (isTree(constant['ival'])) return String(Number(constant['ival']['ival'] ?? 0));
  if (isTree(constant['fval'])) return textIn(constant['fval'], 'fval');
  if (isTree(constant['boolval'])) return constant['boolval']['boolval'] === true ? 'true' : 'false';
  return null;
}
