import type { Hint } from './hint.ts';
import type { Reference } from './walk.ts';
import type { PinReason, StatementDetail, StatementInfo } from './types.ts';

/** What is known of one statement before the catalog, the options and the hint are asked. */
export interface StatementAnalysis {
  readonly info: StatementInfo;
  /** Where it goes alone and outside a transaction, unless `node` or `references` speak against a follower. */
  readonly target: 'follower' | 'leader' | 'proxy';
  readonly reason: string;
  /** Why it is about a node (`system_catalogs`); null: it is not. */
  readonly node: string | null;
  readonly references: readonly Reference[];
  readonly pins: readonly PinReason[];
  /** The SQL-level prepared statement that it executes. */
  readonly executes?: string | undefined;
  readonly listsStatements?: boolean | undefined;
  readonly unlocks?: boolean | undefined;
  readonly locks?: boolean | undefined;
  /** It can be run again when nothing of its answer was passed on. */
  readonly retryable: boolean;
}

/** What is known of a text; cached, so that a change of the catalog costs no parsing. */
export interface Analysis {
  readonly key: string;
  readonly statements: readonly StatementAnalysis[];
  readonly hint: Hint;
}

/** Offsets into the text that is being analysed; `start` and `end` are -1 where the entry stands for many texts. */
export interface Span {
  readonly text: Buffer;
  readonly start: number;
  readonly end: number;
}

export const NO_REFERENCES: readonly Reference[] = [];
export const NO_PINS: readonly PinReason[] = [];

/** A statement of the leader's that leaves nothing behind. */
export function leader(span: Span, detail: StatementDetail, reason: string): StatementAnalysis {
  return {
    info: { start: span.start, end: span.end, ...detail },
    target: 'leader',
    reason,
    node: null,
    references: NO_REFERENCES,
    pins: NO_PINS,
    retryable: false,
  };
}
