import { leader, NO_REFERENCES, type Span, type StatementAnalysis } from './analysis.ts';
import { isTemporarySchema } from './functions.ts';
import type { Tree } from './parser.ts';
import type { PinReason, StatementDetail } from './types.ts';
import { factsOf, isTemporaryRelation, isTree, nameOf, textIn } from './walk.ts';

/** Utility commands that change no object's definition. */
const NO_DDL = new Set([
  'CallStmt',
  'DoStmt',
  'CheckPointStmt',
  'ClusterStmt',
  'ConstraintsSetStmt',
  'LockStmt',
  'NotifyStmt',
  'ReindexStmt',
  'RefreshMatViewStmt',
  'TruncateStmt',
  'VacuumStmt',
]);

const RUNS_CODE: ReadonlySet<string> = new Set(['DoStmt', 'CallStmt']);

/** DDL and the rest. A callee of CALL and DO is unknown, but both stay on the leader whatever it does. */
export function analyseUtility(type: string, node: Tree, span: Span): StatementAnalysis {
  const pins: PinReason[] = [];
  if (makesTemporary(type, node)) pins.push('temporary-objects');
  // The call of a CALL has no wrapper that names its kind.
  const facts = factsOf(type === 'CallStmt' ? { FuncCall: node['funccall'] } : node);
  for (const pin of facts.pins) if (!pins.includes(pin)) pins.push(pin);
  if (type === 'DoStmt' && mayKeepSettings(node) && !pins.includes('session-state')) pins.push('session-state');
  const references = type === 'CallStmt' ? facts.references : NO_REFERENCES;
  const query = node['query'];
  const execute = isTree(query) && isTree(query['ExecuteStmt']) ? query['ExecuteStmt'] : null;
  const executes = execute === null ? undefined : textIn(execute, 'name'); // CREATE TABLE AS EXECUTE
  const reason = NO_DDL.has(type) ? 'utility' : changesNoCall(type, node) ? 'ddl-relation' : 'ddl';
  const detail: StatementDetail = RUNS_CODE.has(type) ? { kind: 'utility', runsCode: true } : { kind: 'utility' };
  return {
    ...leader(span, detail, reason),
    references,
    pins,
    executes,
    unlocks: facts.unlocks,
  };
}

/** A DO block whose text may set something for the session, directly or in dynamic SQL. */
function mayKeepSettings(node: Tree): boolean {
  const text = JSON.stringify(node['args'] ?? null);
  return /\bset_config\b|(?:;|\bbegin|\bthen|\belse|\bloop|['"$])\s*set\s+(?!local\b)/i.test(
    text.replaceAll(/\\[nrt]/g, ' '),
  );
}

/** DDL that leaves what a call, an operator, a cast or a view may reach as it was: the catalog that was read still holds. */
function changesNoCall(type: string, node: Tree): boolean {
  if (type === 'DropStmt')
    return /^OBJECT_(?:TABLE|INDEX|SEQUENCE|MATVIEW|TRIGGER|STATISTIC_EXT)$/.test(textIn(node, 'removeType'));
  return RELATION_DDL.has(type);
}

const RELATION_DDL = new Set([
  'CreateStmt',
  'CreateTableAsStmt',
  'CreateSeqStmt',
  'AlterSeqStmt',
  'CreateStatsStmt',
  'CreateTrigStmt',
  'IndexStmt',
  'CommentStmt',
  'GrantStmt',
]);

/** CREATE TEMP …, CREATE … pg_temp.…: the target is under one of a few keys, as a RangeVar or a list of names. */
function makesTemporary(type: string, node: Tree): boolean {
  if (!/^(?:Create|View|CompositeType|Define|AlterObjectSchema)/.test(type)) return false;
  if (type === 'AlterObjectSchemaStmt') return isTemporarySchema(textIn(node, 'newschema'));
  const into = node['into'];
  for (const target of [
    node['relation'],
    node['view'],
    node['sequence'],
    node['typevar'],
    isTree(into) && into['rel'],
  ]) {
    if (isTemporaryRelation(target)) return true;
  }
  for (const key of ['funcname', 'typeName', 'domainname', 'defnames', 'opfamilyname', 'opclassname']) {
    const { schema } = nameOf(node[key]);
    if (schema !== null && isTemporarySchema(schema)) return true;
  }
  return false;
}
