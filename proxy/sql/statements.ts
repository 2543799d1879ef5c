import { leader, NO_PINS, type Span, type StatementAnalysis } from './analysis.ts';
import { explainBody, prepareBody } from './body.ts';
import type { Tree } from './parser.ts';
import {
  analyseOwnSelect,
  analyseSet,
  analyseSetConfig,
  analyseShow,
  transactionModes,
} from './settings-statements.ts';
import type { PinReason, StatementDetail } from './types.ts';
import { analyseUtility } from './utility-statements.ts';
import { factsOf, isTree, stringOf, textIn } from './walk.ts';

/**
 * One statement of libpg-query's tree to what it means for routing: the rows of ROUTING.md, "Where a statement goes". Whatever is
 * not named here is the leader's.
 */
export function analyseStatement(stmt: Tree, span: Span): StatementAnalysis {
  const type = Object.keys(stmt)[0] ?? '';
  const node = stmt[type];
  if (!isTree(node)) return leader(span, { kind: 'utility' }, 'utility');
  switch (type) {
    case 'SelectStmt':
      return analyseOwnSelect(node, span) ?? analyseSetConfig(node, span) ?? analyseQuery(stmt, span);
    case 'InsertStmt':
    case 'UpdateStmt':
    case 'DeleteStmt':
    case 'MergeStmt':
      return analyseQuery(stmt, span);
    case 'VariableSetStmt':
      return analyseSet(node, span);
    case 'VariableShowStmt':
      return analyseShow(node, span);
    case 'TransactionStmt':
      return analyseTransaction(node, span);
    case 'ExplainStmt':
      return analyseExplain(node, span);
    case 'CopyStmt':
      return analyseCopy(node, span);
    case 'PrepareStmt':
      return analysePrepare(node, span);
    default:
      return analyseSession(type, node, span) ?? analyseUtility(type, node, span);
  }
}

function analyseQuery(stmt: Tree, span: Span): StatementAnalysis {
  const facts = factsOf(stmt);
  const pins = facts.pins.size === 0 ? NO_PINS : [...facts.pins];
  const { listsStatements, unlocks, locks } = facts;
  if (facts.leader !== null)
    return { ...leader(span, { kind: 'write' }, facts.leader), pins, listsStatements, unlocks, locks };
  return {
    listsStatements,
    info: { start: span.start, end: span.end, kind: 'read' },
    target: 'follower',
    reason: 'read',
    node: facts.node,
    references: facts.references,
    pins,
    retryable: true,
  };
}

function analyseTransaction(node: Tree, span: Span): StatementAnalysis {
  const name = textIn(node, 'savepoint_name');
  const chain = node['chain'] === true;
  switch (node['kind']) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      return {
        ...leader(span, { kind: 'begin', ...transactionModes(node['options']) }, 'transaction'),
        target: 'proxy',
      };
    case 'TRANS_STMT_COMMIT':
      return leader(span, { kind: 'commit', chain }, 'transaction');
    case 'TRANS_STMT_ROLLBACK':
      return leader(span, { kind: 'rollback', chain }, 'transaction');
    case 'TRANS_STMT_SAVEPOINT':
      return leader(span, { kind: 'savepoint', name }, 'transaction');
    case 'TRANS_STMT_RELEASE':
      return leader(span, { kind: 'release', name }, 'transaction');
    case 'TRANS_STMT_ROLLBACK_TO':
      return leader(span, { kind: 'rollback-to', name }, 'transaction');
    case 'TRANS_STMT_PREPARE':
      return leader(span, { kind: 'prepare-transaction' }, 'two-phase');
    default:
      return leader(span, { kind: 'finish-prepared' }, 'two-phase');
  }
}

function analyseExplain(node: Tree, span: Span): StatementAnalysis {
  if (hasOption(node['options'], 'route')) {
    return { ...leader(span, explainRoute(node, span), 'explain-route'), target: 'proxy' };
  }
  // As the inner statement would route: EXPLAIN ANALYZE runs it.
  const inner = innerOf(node, span);
  const { executes, listsStatements } = inner;
  const kind = inner.info.kind === 'read' || executes !== undefined ? 'read' : 'write';
  // Planning may evaluate functions, but nothing is left behind unless it is really run.
  const pins = hasOption(node['options'], 'analyze') ? inner.pins : NO_PINS;
  if (inner.target === 'follower') return { ...inner, info: { start: span.start, end: span.end, kind }, pins };
  const locks = inner.locks === true && pins === inner.pins;
  return { ...leader(span, { kind }, inner.reason), pins, executes, listsStatements, locks };
}

function explainRoute(node: Tree, span: Span): StatementDetail {
  let format = 'text';
  let other: string | null = null;
  for (const option of Array.isArray(node['options']) ? node['options'] : []) {
    const element = isTree(option) && isTree(option['DefElem']) ? option['DefElem'] : {};
    const name = textIn(element, 'defname');
    if (name === 'format') format = (stringOf(element['arg']) ?? '').toLowerCase();
    else if (name !== 'route') other ??= name;
  }
  return { kind: 'explain-route', bodyStart: explainBody(span.text, span.start, span.end), format, other };
}

function analyseCopy(node: Tree, span: Span): StatementAnalysis {
  if (node['is_from'] === true) return leader(span, { kind: 'copy-from' }, 'copy-from');
  // To a file or a program of the server: that is a write, somewhere.
  if (node['filename'] !== undefined || node['is_program'] === true) {
    return leader(span, { kind: 'copy-to' }, 'copy-to-file');
  }
  const relation = node['relation'];
  const inner = analyseQuery(relation === undefined ? { query: node['query'] } : { relation }, span);
  return { ...inner, info: { start: span.start, end: span.end, kind: 'copy-to' } };
}

function analysePrepare(node: Tree, span: Span): StatementAnalysis {
  const inner = innerOf(node, span);
  const detail: StatementDetail = {
    kind: 'prepare',
    name: textIn(node, 'name'),
    bodyStart: prepareBody(span.text, span.start, span.end),
    bodyEnd: span.end,
  };
  // The pins come with EXECUTE, which the proxy classifies as the body.
  return { ...inner, info: { start: span.start, end: span.end, ...detail }, pins: NO_PINS, retryable: false };
}

/** Where its arguments may be computed; what it executes is known to the session alone. */
function analyseExecute(node: Tree, span: Span): StatementAnalysis {
  const name = textIn(node, 'name');
  const { start, end } = span;
  return {
    ...analyseQuery({ params: node['params'] }, span),
    info: { start, end, kind: 'execute', name },
    executes: name,
  };
}

function innerOf(node: Tree, span: Span): StatementAnalysis {
  const query = node['query'];
  return isTree(query) ? analyseStatement(query, span) : leader(span, { kind: 'utility' }, 'utility');
}

/** Statements about the session rather than the data; null: it is none of them. */
function analyseSession(type: string, node: Tree, span: Span): StatementAnalysis | null {
  switch (type) {
    case 'ExecuteStmt':
      return analyseExecute(node, span);
    case 'DeallocateStmt':
      return anywhere(span, { kind: 'deallocate', name: typeof node['name'] === 'string' ? node['name'] : null });
    case 'DiscardStmt':
      return analyseDiscard(node, span);
    case 'ListenStmt':
      return { ...leader(span, { kind: 'listen' }, 'listen'), pins: ['listen'] };
    case 'UnlistenStmt':
      return leader(span, { kind: 'unlisten' }, 'listen');
    case 'DeclareCursorStmt':
      return analyseCursor(node, span);
    case 'FetchStmt':
      return leader(span, { kind: 'fetch' }, 'cursor');
    case 'ClosePortalStmt':
      return leader(span, { kind: 'close-cursor' }, 'cursor');
    case 'LoadStmt':
      return { ...leader(span, { kind: 'utility' }, 'session-state'), pins: ['session-state'] };
    case 'CreateExtensionStmt':
      return { ...leader(span, { kind: 'utility' }, 'ddl'), pins: ['session-state'] };
    default:
      return null;
  }
}

function analyseDiscard(node: Tree, span: Span): StatementAnalysis {
  switch (node['target']) {
    case 'DISCARD_TEMP':
      return anywhere(span, { kind: 'discard', what: 'temp' });
    case 'DISCARD_PLANS':
      return anywhere(span, { kind: 'discard', what: 'plans' });
    case 'DISCARD_SEQUENCES':
      return anywhere(span, { kind: 'discard', what: 'sequences' });
    default:
      return anywhere(span, { kind: 'discard', what: 'all' });
  }
}

/** parsenodes.h: CURSOR_OPT_HOLD. */
const CURSOR_HOLD = 0x20;

function analyseCursor(node: Tree, span: Span): StatementAnalysis {
  const withHold = (Number(node['options'] ?? 0) & CURSOR_HOLD) !== 0;
  const inner = innerOf(node, span);
  const routeAs = inner.info.kind === 'read' ? 'read' : 'write';
  const pins: PinReason[] = withHold ? [...inner.pins, 'held-cursor'] : [...inner.pins];
  // The catalog may still turn `routeAs` to write: the references stay.
  return {
    ...leader(span, { kind: 'declare-cursor', withHold, routeAs }, 'cursor'),
    references: inner.references,
    pins,
  };
}

function hasOption(options: unknown, name: string): boolean {
  if (!Array.isArray(options)) return false;
  return options.some((option: unknown) => {
    const element = isTree(option) ? option['DefElem'] : null;
    return isTree(element) && element['defname'] === name;
  });
}

/** It concerns the session alone, and every node can do it. */
function anywhere(span: Span, detail: StatementDetail): StatementAnalysis {
  return { ...leader(span, detail, 'session'), target: 'follower' };
}
