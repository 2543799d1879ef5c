import { NO_PINS, NO_REFERENCES, type Span, type StatementAnalysis } from './analysis.ts';
import { isNodeSetting, isTemporarySchema } from './functions.ts';
import type { Tree } from './parser.ts';
import type { Isolation, PinReason, StatementDetail } from './types.ts';
import { OWN_PREFIX } from '../routing/own-settings.ts';
import { constantText, isTree, nameOf, textIn } from './walk.ts';

/** SET, RESET, SHOW, SET TRANSACTION, and the SELECT set_config(…) that is a SET. */

type Place = Pick<StatementAnalysis, 'target' | 'reason'> & { readonly pins?: readonly PinReason[] };

/** Session settings do not differ between nodes: any of them can say whether the value is valid. */
const ANYWHERE: Place = { target: 'follower', reason: 'setting' };
const LEADER: Place = { target: 'leader', reason: 'setting' };
const SNAPSHOT: Place = { target: 'leader', reason: 'snapshot' };
const PROXY: Place = { target: 'proxy', reason: 'setting' };
const PINNED: Place = { target: 'leader', reason: 'setting', pins: ['session-state'] };
const TEMPORARY: Place = { target: 'leader', reason: 'temporary-objects', pins: ['temporary-objects'] };

/** VariableSetStmt. */
export function analyseSet(node: Tree, span: Span): StatementAnalysis {
  const name = textIn(node, 'name').toLowerCase();
  const local = node['is_local'] === true;
  switch (node['kind']) {
    case 'VAR_RESET_ALL':
      return item(span, { kind: 'reset-all' }, ANYWHERE);
    case 'VAR_SET_MULTI':
      if (name === 'transaction') return setTransaction(node, span, false);
      if (name === 'session characteristics') return setTransaction(node, span, true);
      return item(span, { kind: 'utility' }, SNAPSHOT); // SET TRANSACTION SNAPSHOT
    case 'VAR_SET_VALUE':
      return setValue(name, settingText(node['args']), local, span);
    case 'VAR_SET_DEFAULT':
    case 'VAR_RESET':
      if (TRANSACTION_MODES.has(name)) return item(span, { kind: 'utility' }, LEADER);
      return item(span, { kind: 'set', name, value: null, local, sql: `RESET ${quoteName(name)}` }, placeOf(name, ''));
    default:
      return item(span, { kind: 'utility' }, LEADER); // SET … FROM CURRENT
  }
}

function setValue(name: string, value: string | null, local: boolean, span: Span): StatementAnalysis {
  if (value === null) return item(span, { kind: 'utility' }, PINNED);
  if (TRANSACTION_MODES.has(name)) return setTransactionMode(name, value, span);
  const sql = textOf(span);
  // Text in another encoding cannot be said again by a proxy that reads UTF-8.
  if (sql === null) return item(span, { kind: 'utility' }, PINNED);
  return item(span, { kind: 'set', name, value, local, sql }, placeOf(name, value));
}

function placeOf(name: string, value: string): Place {
  if (name.startsWith(OWN_PREFIX)) return PROXY;
  if (name === 'search_path' && value.split(',').some((part) => isTemporarySchema(part.trim().toLowerCase()))) {
    return TEMPORARY;
  }
  return ANYWHERE;
}

/** SET's value as SHOW would give it: lists joined by a comma. Null where it is not made of constants. */
function settingText(args: unknown): string | null {
  if (!Array.isArray(args)) return null;
  const parts: string[] = [];
  for (const arg of args) {
    const cast = isTree(arg) ? arg['TypeCast'] : undefined; // SET TIME ZONE INTERVAL '1' HOUR
    const part = constantText(isTree(cast) ? cast['arg'] : arg);
    if (part === null) return null;
    parts.push(part);
  }
  return parts.join(', ');
}

const TRANSACTION_MODES = new Set(['transaction_read_only', 'transaction_isolation', 'transaction_deferrable']);
const ISOLATIONS: readonly Isolation[] = ['read uncommitted', 'read committed', 'repeatable read', 'serializable'];

export interface Modes {
  readonly readOnly: boolean | null;
  readonly isolation: Isolation | null;
  readonly deferrable: boolean | null;
}

/** The DefElems of BEGIN and SET TRANSACTION; the last one of a kind counts. */
export function transactionModes(options: unknown): Modes {
  let modes: Modes = { readOnly: null, isolation: null, deferrable: null };
  for (const option of Array.isArray(options) ? options : []) {
    const element = isTree(option) && isTree(option['DefElem']) ? option['DefElem'] : null;
    const value = element === null ? null : constantText(element['arg']);
    if (element !== null && value !== null) modes = withMode(modes, textIn(element, 'defname'), value);
  }
  return modes;
}

function withMode(modes: Modes, name: string, value: string): Modes {
  switch (name) {
    case 'transaction_read_only':
      return { ...modes, readOnly: isOn(value) };
    case 'transaction_deferrable':
      return { ...modes, deferrable: isOn(value) };
    case 'transaction_isolation':
      return { ...modes, isolation: ISOLATIONS.find((level) => level === value.toLowerCase()) ?? modes.isolation };
    default:
      return modes;
  }
}

function isOn(value: string): boolean {
  return /^(?:on|1|t|tr|tru|true|y|ye|yes)$/i.test(value);
}

function setTransaction(node: Tree, span: Span, session: boolean): StatementAnalysis {
  const detail: StatementDetail = { kind: 'set-transaction', ...transactionModes(node['args']), session };
  return item(span, detail, session ? ANYWHERE : LEADER);
}

/** `SET transaction_read_only = off` is SET TRANSACTION READ WRITE, and a standby refuses it. */
function setTransactionMode(name: string, value: string, span: Span): StatementAnalysis {
  const modes = withMode({ readOnly: null, isolation: null, deferrable: null }, name, value);
  return item(span, { kind: 'set-transaction', ...modes, session: false }, LEADER);
}

/** VariableShowStmt. */
export function analyseShow(node: Tree, span: Span): StatementAnalysis {
  const name = textIn(node, 'name').toLowerCase();
  if (name.startsWith(OWN_PREFIX)) return item(span, { kind: 'show', name }, PROXY);
  const shown = item(span, { kind: 'show', name }, ANYWHERE, true);
  return isNodeSetting(name) ? { ...shown, node: `system-setting:${name}` } : shown;
}

/**
 * `SELECT current_setting('leasehold.…')` or `SELECT set_config('leasehold.…', 'value', …)` and nothing else: what SHOW and SET would
 * say. Null: it is something else, or its own text is not known.
 */
export function analyseOwnSelect(select: Tree, span: Span): StatementAnalysis | null {
  const call = span.start < 0 ? null : onlyCall(select);
  const args = call?.['args'];
  if (call === null || !Array.isArray(args)) return null;
  const { schema, name: called } = nameOf(call['funcname']);
  const name = constantText(args[0])?.toLowerCase() ?? '';
  if ((schema !== null && schema !== 'pg_catalog') || !name.startsWith(OWN_PREFIX)) return null;
  const column = columnName(select) ?? called;
  if (called === 'current_setting') return item(span, { kind: 'show', name, column }, PROXY);
  const value = constantText(args[1]);
  const local = constantText(args[2]);
  if (called !== 'set_config' || (value === null && !isNull(args[1])) || local === null) return null;
  return item(span, { kind: 'set', name, value, local: isOn(local), sql: '', column }, PROXY);
}

function columnName(select: Tree): string | null {
  const columns = select['targetList'];
  const column: unknown = Array.isArray(columns) && isTree(columns[0]) ? columns[0]['ResTarget'] : null;
  return isTree(column) && typeof column['name'] === 'string' ? column['name'] : null;
}

/** `SELECT set_config('name', 'value', false)` and nothing else; null: it is not just that. */
export function analyseSetConfig(select: Tree, span: Span): StatementAnalysis | null {
  const call = onlyCall(select);
  const args = call === null ? null : call['args'];
  if (call === null || nameOf(call['funcname']).name !== 'set_config' || !Array.isArray(args)) return null;
  const name = constantText(args[0])?.toLowerCase();
  const value = constantText(args[1]);
  if (name === undefined || (value === null && !isNull(args[1])) || constantText(args[2]) !== 'false') return null;
  if (TRANSACTION_MODES.has(name) && value !== null) return setTransactionMode(name, value, span);
  const sql = textOf(span);
  if (sql === null) return null;
  const place = placeOf(name, value ?? '');
  // ROUTING.md: set_config is the leader's, even where SET is not.
  return item(span, { kind: 'set', name, value, local: false, sql }, place === TEMPORARY ? TEMPORARY : LEADER);
}

function onlyCall(select: Tree): Tree | null {
  const columns = select['targetList'];
  const others =
    'fromClause whereClause limitCount limitOffset withClause groupClause havingClause sortClause distinctClause windowClause intoClause lockingClause valuesLists larg'.split(
      ' ',
    );
  if (!Array.isArray(columns) || columns.length !== 1 || others.some((key) => key in select)) return null;
  const column: unknown = isTree(columns[0]) ? columns[0]['ResTarget'] : null;
  const value = isTree(column) ? column['val'] : null;
  return isTree(value) && isTree(value['FuncCall']) ? value['FuncCall'] : null;
}

function isNull(node: unknown): boolean {
  return isTree(node) && isTree(node['A_Const']) && node['A_Const']['isnull'] === true;
}

/** The statement's own text; null where there is none that could be sent again. */
function textOf(span: Span): string | null {
  if (span.start < 0) return null;
  const text = span.text.toString('utf8', span.start, span.end);
  return text.includes('\ufffd') ? null : text;
}

function quoteName(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}

function item(span: Span, detail: StatementDetail, place: Place, retryable = false): StatementAnalysis {
  return {
    info: { start: span.start, end: span.end, ...detail },
    target: place.target,
    reason: place.reason,
    node: null,
    references: NO_REFERENCES,
    pins: place.pins ?? NO_PINS,
    retryable,
  };
}
