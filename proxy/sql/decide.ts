import type { Analysis, StatementAnalysis } from './analysis.ts';
import { BUILTIN_FUNCTIONS } from './builtin-functions.ts';
import { SAFE_VOLATILE } from './functions.ts';
import type { Classification, ClassifyOptions, PinReason, StatementInfo, VolatilityCatalog } from './types.ts';
import type { Reference } from './walk.ts';

/** An analysis, a catalog and the options to the answer. Cheap: run again when the catalog changed. */
export function decide(
  analysis: Analysis,
  catalog: VolatilityCatalog,
  options: Pick<ClassifyOptions, 'systemCatalogs'>,
  learnedWrite: boolean,
): Classification {
  const verdicts = analysis.statements.map((statement) => decideOne(statement, analysis, catalog, options));
  const { target, reason } = learnedWrite ? LEARNED : combine(analysis, verdicts);
  const pins = new Set<PinReason>();
  for (const { pins: own, references } of analysis.statements) {
    for (const pin of own) pins.add(pin);
    // What a function sets for the session is there, and nobody could set it again elsewhere.
    if (references.some(({ kind, schema, name }) => kind === 'function' && catalog.isSetter?.(schema, name) === true)) {
      pins.add('session-state');
    }
  }
  return {
    key: analysis.key,
    statements: verdicts.map((verdict) => (learnedWrite ? asWrite(verdict.info) : verdict.info)),
    target,
    reason,
    pins: [...pins],
    retryable: !learnedWrite && verdicts.every((verdict) => verdict.retryable),
    hint: analysis.hint.role,
    consistency: analysis.hint.consistency,
    executes: analysis.statements.flatMap(({ executes }) => (executes === undefined ? [] : [executes])),
    locks: analysis.statements.some(({ locks }) => locks === true),
    unlocks: analysis.statements.some(({ unlocks }) => unlocks === true),
    listsStatements: analysis.statements.some(({ listsStatements }) => listsStatements === true),
  };
}

interface Verdict {
  readonly info: StatementInfo;
  readonly target: 'follower' | 'leader' | 'proxy';
  readonly reason: string;
  readonly retryable: boolean;
}

const LEARNED = { target: 'leader', reason: 'learned-write' } as const;

function decideOne(
  statement: StatementAnalysis,
  analysis: Analysis,
  catalog: VolatilityCatalog,
  options: Pick<ClassifyOptions, 'systemCatalogs'>,
): Verdict {
  const { info, target, reason, retryable } = statement;
  if (statement.info.kind === 'declare-cursor' || target === 'follower') {
    // A follower hint vouches for functions that the catalog calls volatile; what is known to write never comes here.
    const volatile = analysis.hint.role === 'follower' ? null : volatileReference(statement.references, catalog);
    if (volatile !== null) return { info: asWrite(info), target: 'leader', reason: volatile, retryable: false };
    if (target === 'follower' && statement.node !== null && options.systemCatalogs === 'leader') {
      // Still a read: it is only that the leader is meant.
      if (analysis.hint.role !== 'follower') return { info, target: 'leader', reason: statement.node, retryable };
    }
  }
  return { info, target, reason, retryable };
}

function asWrite(info: StatementInfo): StatementInfo {
  if (info.kind === 'read') return { start: info.start, end: info.end, kind: 'write' };
  return info.kind === 'declare-cursor' ? { ...info, routeAs: 'write' } : info;
}

/** Kinds that a follower may serve among others of one text: they leave nothing behind. */
const READ_KINDS: ReadonlySet<StatementInfo['kind']> = new Set(['read', 'show', 'copy-to'] as const);

function combine(analysis: Analysis, verdicts: readonly Verdict[]): Pick<Classification, 'target' | 'reason'> {
  const first = verdicts[0];
  if (first === undefined) return { target: 'follower', reason: 'empty' };
  if (verdicts.length === 1 && first.target === 'proxy') return first;
  const hinted = analysis.hint.role === 'leader';
  if (verdicts.length === 1) return hinted && first.target === 'follower' ? HINTED : first;
  const other = verdicts.find((verdict) => verdict.target !== 'follower' || !READ_KINDS.has(verdict.info.kind));
  if (other !== undefined) return { target: 'leader', reason: other.reason };
  return hinted ? HINTED : { target: 'follower', reason: 'read' };
}

const HINTED = { target: 'leader', reason: 'hint' } as const;

/** Why the catalog forbids a follower; null: it does not. */
function volatileReference(references: readonly Reference[], catalog: VolatilityCatalog): string | null {
  for (const { kind, schema, name } of references) {
    if (kind !== 'function') {
      if (catalog.isVolatile(kind, schema, name)) return `volatile-${kind}:${name}`;
      continue;
    }
    const volatility = catalog.volatilityOf(schema, name);
    if (volatility === 'volatile') return `volatile-function:${name}`;
    if (volatility === 'unknown' && !isKnownBuiltin(schema, name)) return `unknown-function:${name}`;
  }
  return null;
}

function isKnownBuiltin(schema: string | null, name: string): boolean {
  return (schema === null || schema === 'pg_catalog') && (BUILTIN_FUNCTIONS.has(name) || SAFE_VOLATILE.has(name));
}
