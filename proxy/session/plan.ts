import type { ConsistencyLevel } from '../routing/choose-node.ts';
import { isOwnSetting, strongerLevel } from '../routing/own-settings.ts';
import type { Classification, PinReason, StatementInfo } from '../sql/types.ts';

/** What the proxy has to know of a unit of work before and after it runs. */
export interface UnitPlan {
  /** `any`: SET and the like, which only need a server to check the value. */
  readonly target: 'leader' | 'follower' | 'any';
  /** May be run again elsewhere while nothing of its answer was passed on. */
  readonly retryable: boolean;
  /** For metrics: a word of a fixed set. */
  readonly label: string;
  /** Whether a commit of it may be one that a later read must see. */
  readonly mayWrite: boolean;
  readonly pins: readonly PinReason[];
  /** Some statement changes what the proxy keeps: settings, transaction, prepared statements. */
  readonly tracked: boolean;
  /** Ends a transaction, perhaps with a commit. */
  readonly committing: boolean;
  readonly begin: (StatementInfo & { readonly kind: 'begin' }) | null;
  /** May end a pin: ask the server afterwards. */
  readonly checksPins: boolean;
  readonly ddl: boolean;
  /** DDL that may change what a call reaches: the catalog that was read does not hold any more. */
  readonly changesCalls: boolean;
  /** Gives or takes what several transactions share (a snapshot, an advisory lock): all of them are to meet on one server. */
  readonly meetsOthers: boolean;
  /** Locks, and keeps a cursor beyond the transaction: on a follower that would be in vain. */
  readonly needsLeader: string | null;
  /** May leave settings on its server that nobody can note. */
  readonly runsCode: boolean;
  /** SQL-level prepared statements that it executes; and all that it names, in order. Null: none. */
  readonly executes: readonly string[] | null;
  readonly names: readonly string[] | null;
  readonly listsStatements: boolean;
  /** Nobody knows what is in it: it may end one transaction and begin another. */
  readonly unread: boolean;
  /** The strongest consistency level that a comment asked for; `unhinted`: some statement has no such comment. */
  readonly hinted: ConsistencyLevel | null;
  readonly unhinted: boolean;
  /** Some statement is the proxy's own to answer. */
  readonly own: boolean;
}

/** Messages that name no statement (Sync alone, a Close). */
export const EMPTY_PLAN: UnitPlan = {
  target: 'any',
  retryable: true,
  label: 'none',
  mayWrite: false,
  pins: [],
  tracked: false,
  committing: false,
  begin: null,
  checksPins: false,
  ddl: false,
  changesCalls: false,
  meetsOthers: false,
  needsLeader: null,
  runsCode: false,
  executes: null,
  names: null,
  listsStatements: false,
  unread: false,
  hinted: null,
  unhinted: false,
  own: false,
};

/** What could not be read: too long for the buffer, or a fast-path function call. */
export const OPAQUE_PLAN: UnitPlan = {
  ...EMPTY_PLAN,
  target: 'leader',
  retryable: false,
  label: 'opaque',
  mayWrite: true,
  unread: true,
  runsCode: true,
};

const plans = new WeakMap<Classification, UnitPlan>();

export function planOf(classification: Classification): UnitPlan {
  let plan = plans.get(classification);
  if (plan === undefined) {
    plan = makePlan(classification);
    plans.set(classification, plan);
  }
  return plan;
}

/** Both in one unit: the stronger class decides. */
export function mergePlans(a: UnitPlan, b: UnitPlan): UnitPlan {
  if (a === b || b === EMPTY_PLAN) return a;
  if (a === EMPTY_PLAN) return b;
  const targets = [a.target, b.target];
  const target = targets.includes('leader') ? 'leader' : targets.includes('follower') ? 'follower' : 'any';
  return {
    target,
    retryable: a.retryable && b.retryable,
    label: b.target === 'leader' ? b.label : a.label,
    mayWrite: a.mayWrite || b.mayWrite,
    pins: [...new Set([...a.pins, ...b.pins])],
    tracked: a.tracked || b.tracked,
    committing: a.committing || b.committing,
    begin: a.begin ?? b.begin,
    checksPins: a.checksPins || b.checksPins,
    ddl: a.ddl || b.ddl,
    changesCalls: a.changesCalls || b.changesCalls,
    meetsOthers: a.meetsOthers || b.meetsOthers,
    needsLeader: a.needsLeader ?? b.needsLeader,
    runsCode: a.runsCode || b.runsCode,
    executes: joined(a.executes, b.executes),
    names: joined(a.names, b.names),
    listsStatements: a.listsStatements || b.listsStatements,
    unread: a.unread || b.unread,
    hinted: a.hinted === null ? b.hinted : b.hinted === null ? a.hinted : strongerLevel(a.hinted, b.hinted),
    unhinted: a.unhinted || b.unhinted,
    own: a.own || b.own,
  };
}

function joined(a: readonly string[] | null, b: readonly string[] | null): readonly string[] | null {
  return a === null ? b : b === null ? a : [...new Set([...a, ...b])];
}

function makePlan(classification: Classification): UnitPlan {
  const { statements, reason, retryable } = classification;
  const has = (...kinds: StatementInfo['kind'][]): boolean => statements.some((s) => kinds.includes(s.kind));
  const manyUtilities = statements.length > 1 && has('utility');
  const pins: PinReason[] = [...classification.pins];
  // A PREPARE whose text cannot be said again stays where it is.
  if (statements.length > 1 && statements.some((s) => s.kind === 'prepare' && s.start < 0)) pins.push('session-state');
  const names = namesOf(classification);
  return {
    target: targetOf(classification),
    retryable,
    label: reason.split(':', 1)[0] ?? reason,
    mayWrite: statements.length === 0 || statements.some((s) => !WRITES_NOTHING.has(s.kind)),
    pins: [...new Set(pins)],
    tracked: statements.some(isTracked),
    committing: has('commit', 'rollback', 'prepare-transaction', 'finish-prepared'),
    begin: (statements.find((s) => s.kind === 'begin') as UnitPlan['begin'] | undefined) ?? null,
    checksPins: has('unlisten', 'close-cursor') || pins.includes('advisory-lock') || classification.unlocks,
    ddl: reason.startsWith('ddl') || manyUtilities,
    changesCalls: reason === 'ddl' || manyUtilities,
    meetsOthers: classification.locks || reason === 'snapshot' || reason.endsWith(':pg_export_snapshot'),
    needsLeader: classification.locks ? 'an advisory lock' : pins.includes('held-cursor') ? 'a cursor WITH HOLD' : null,
    runsCode: statements.some((s) => s.kind === 'unparsed' || (s.kind === 'utility' && s.runsCode === true)),
    executes: classification.executes.length === 0 ? null : classification.executes,
    names: names.length === 0 ? null : names,
    listsStatements: classification.listsStatements,
    unread: has('unparsed'),
    hinted: classification.consistency,
    unhinted: classification.consistency === null,
    own: statements.some(isOwn),
  };
}

function isOwn(statement: StatementInfo): boolean {
  if (statement.kind === 'explain-route') return true;
  return (statement.kind === 'set' || statement.kind === 'show') && isOwnSetting(statement.name);
}

function namesOf({ statements, executes }: Classification): string[] {
  const names = new Set(executes);
  for (const statement of statements) {
    if (statement.kind === 'prepare') names.add(statement.name);
    else if (statement.kind === 'deallocate' && statement.name !== null) names.add(statement.name);
  }
  return [...names];
}

const WRITES_NOTHING: ReadonlySet<StatementInfo['kind']> = new Set([
  'read',
  'begin',
  'set-transaction',
  'commit',
  'rollback',
  'savepoint',
  'release',
  'rollback-to',
  'set',
  'reset-all',
  'show',
  'prepare',
  'execute',
  'deallocate',
  'discard',
  'unlisten',
  'close-cursor',
]);

/** Settings whose values tell the role of a server: a client must see the leader's. */
const ROLE_SETTING = /^(?:transaction_|in_hot_standby|primary_|synchronous_|hot_standby|recovery_)/;

/** Settings whose values name something in the catalog: a follower may not have replayed it yet. */
const CATALOG_SETTING =
  /^(?:role|session_authorization|default_tablespace|temp_tablespaces|default_table_access_method|default_text_search_config)$/;

/** Plans, sequences and temporary objects are the leader connection's: DISCARD of them elsewhere would be in vain. */
function discardsOnServer(statement: StatementInfo): boolean {
  return statement.kind === 'discard' && statement.what !== 'all';
}

function isInCatalog(statement: StatementInfo): boolean {
  return statement.kind === 'set' && statement.value !== null && CATALOG_SETTING.test(statement.name);
}

/** A follower can do nothing under it, not even be set otherwise again: "cannot use serializable mode in a hot standby". */
function makesSerializable(statement: StatementInfo): boolean {
  if (statement.kind === 'set-transaction') return statement.session && statement.isolation === 'serializable';
  return statement.kind === 'set' && statement.name === 'default_transaction_isolation';
}

function targetOf(classification: Classification): UnitPlan['target'] {
  if (classification.statements.some((s) => isInCatalog(s) || discardsOnServer(s) || makesSerializable(s)))
    return 'leader';
  const free = classification.statements.every(
    (s) =>
      ((s.kind === 'set' || s.kind === 'show') && !ROLE_SETTING.test(s.name)) ||
      s.kind === 'reset-all' ||
      s.kind === 'discard' ||
      (s.kind === 'set-transaction' && s.session),
  );
  if (free && classification.statements.length > 0 && classification.hint === null) return 'any';
  return classification.target === 'follower' ? 'follower' : 'leader';
}

/** Kinds that change nothing the proxy keeps. */
const UNTRACKED: ReadonlySet<StatementInfo['kind']> = new Set([
  'read',
  'write',
  'utility',
  'unparsed',
  'show',
  'execute',
  'fetch',
  'copy-from',
  'copy-to',
  'explain-route',
  'declare-cursor',
  'close-cursor',
  'listen',
  'unlisten',
  'finish-prepared',
]);

export function isTracked(statement: StatementInfo): boolean {
  return !UNTRACKED.has(statement.kind);
}
