import type { ConsistencyLevel } from '../routing/choose-node.ts';

/**
 * What the proxy needs to know of a statement, computed once per normalised text and cached. Plain data: no
 * literal of the client's text is in it except where the proxy itself acts on it (SET values, statement names),
 * and entries with such literals are keyed by the literal text.
 */
export interface Classification {
  /** Text with literals replaced; what metrics, logs and the learned-writes table use. */
  readonly key: string;
  readonly statements: readonly StatementInfo[];
  /**
   * Where the whole text must go when no transaction is open: `follower` only if every statement is a read that a
   * follower may serve and none opens or closes a transaction; `proxy` where the proxy itself answers
   * (single statements only); else `leader`.
   */
  readonly target: 'follower' | 'leader' | 'proxy';
  /** For EXPLAIN (ROUTE), metrics and logs: one of a fixed set of words, e.g. `read`, `write`, `ddl`, `locking-read`, `volatile-function:nextval`, `unparsed`, `hint`. */
  readonly reason: string;
  /** The pins that the statements put on the session, if they succeed. */
  readonly pins: readonly PinReason[];
  /** True where the text can be sent again on another node when nothing of its answer was passed on (S6). */
  readonly retryable: boolean;
  /** SQL-level prepared statements that it executes, at any depth (EXPLAIN, CREATE TABLE AS). */
  readonly executes: readonly string[];
  /** It reads pg_prepared_statements, which has to show the client's own. */
  readonly listsStatements: boolean;
  /** It takes an advisory lock, of the session or of the transaction: who else takes it must meet it. */
  readonly locks: boolean;
  /** It may give back an advisory lock of the session. */
  readonly unlocks: boolean;
  /** What a leading comment asked for; already taken into account in `target`. */
  readonly hint: 'leader' | 'follower' | null;
  /** The level that a leading comment asked for, instead of the session's. */
  readonly consistency: ConsistencyLevel | null;
}

export type PinReason =
  | 'temporary-objects'
  | 'listen'
  | 'advisory-lock'
  | 'held-cursor'
  | 'session-state'
  | 'two-phase'
  /** What currval and lastval give. */
  | 'sequence-values';

/**
 * One statement of the text. `start`/`end` are byte offsets into the text that was given, without the semicolon; so are
 * the `bodyStart`/`bodyEnd` below. Where one entry stands for many texts (those of plain reads and writes, whose
 * literals are not in the cache's key) both are -1.
 */
export type StatementInfo = { readonly start: number; readonly end: number } & StatementDetail;

export type StatementDetail =
  | { readonly kind: 'read' }
  | { readonly kind: 'write' }
  /** DDL, utility and whatever else must be on the leader. */
  /** `runsCode`: DO and CALL, which may set what nobody sees from outside. */
  | { readonly kind: 'utility'; readonly runsCode?: true }
  | {
      readonly kind: 'begin';
      readonly readOnly: boolean | null;
      readonly isolation: Isolation | null;
      readonly deferrable: boolean | null;
    }
  | {
      readonly kind: 'set-transaction';
      readonly readOnly: boolean | null;
      readonly isolation: Isolation | null;
      readonly deferrable: boolean | null;
      readonly session: boolean;
    }
  | { readonly kind: 'commit'; readonly chain: boolean }
  | { readonly kind: 'rollback'; readonly chain: boolean }
  | { readonly kind: 'savepoint'; readonly name: string }
  | { readonly kind: 'release'; readonly name: string }
  | { readonly kind: 'rollback-to'; readonly name: string }
  | { readonly kind: 'prepare-transaction' }
  | { readonly kind: 'finish-prepared' }
  /** `value` null: RESET / SET … TO DEFAULT. `name` in lower case; `sql` is how to set it again on another backend (`SET x = …`). */
  | {
      readonly kind: 'set';
      readonly name: string;
      readonly value: string | null;
      readonly local: boolean;
      readonly sql: string;
      /** It was a SELECT of set_config: the name of its only column. */
      readonly column?: string;
    }
  | { readonly kind: 'reset-all' }
  /** `column`: it was a SELECT of current_setting, of one of the proxy's own. */
  | { readonly kind: 'show'; readonly name: string; readonly column?: string }
  | { readonly kind: 'prepare'; readonly name: string; readonly bodyStart: number; readonly bodyEnd: number }
  | { readonly kind: 'execute'; readonly name: string }
  | { readonly kind: 'deallocate'; readonly name: string | null }
  | { readonly kind: 'discard'; readonly what: 'all' | 'temp' | 'plans' | 'sequences' }
  | { readonly kind: 'listen' }
  | { readonly kind: 'unlisten' }
  /** `routeAs` is the class of the query inside. */
  | { readonly kind: 'declare-cursor'; readonly withHold: boolean; readonly routeAs: 'read' | 'write' }
  | { readonly kind: 'fetch' }
  | { readonly kind: 'close-cursor' }
  | { readonly kind: 'copy-from' }
  | { readonly kind: 'copy-to' }
  /**
   * `EXPLAIN (ROUTE[, FORMAT …]) …`: the proxy answers. The text that is explained begins at `bodyStart`, -1 if that cannot be told. `format` in
   * lower case; `other`: an option that it does not have.
   */
  | {
      readonly kind: 'explain-route';
      readonly bodyStart: number;
      readonly format: string;
      readonly other: string | null;
    }
  | { readonly kind: 'unparsed' };

export type Isolation = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable';

/** The catalog's view of functions, per database; filled from the leader. */
export interface VolatilityCatalog {
  /**
   * The strongest volatility of any function of this name that a call could mean (schema null: any schema).
   * `unknown` when the catalog has not been read yet or does not have it: treated as volatile.
   */
  volatilityOf(schema: string | null, name: string): 'immutable' | 'stable' | 'volatile' | 'unknown';
  /**
   * Whether something that is not written as a call reaches a volatile function: an operator of that name, a cast to that
   * type, a view (or a table with row security) of that name, or an attribute `x.name` that is in truth the
   * call `name(x)`. False where nothing is known: then the follower's refusal (25006) is the safety net.
   */
  isVolatile(kind: 'operator' | 'type' | 'relation' | 'attribute', schema: string | null, name: string): boolean;
  /** Whether a function of that name sets something for the session by its own source: absent, nobody looked. */
  isSetter?(schema: string | null, name: string): boolean;
  /** False: no function of the database does, so nothing is set that the proxy does not see. */
  readonly settersExist?: boolean;
  /** Grows when the content changed: classifications made with an older one are stale. */
  readonly version: number;
}

export interface Classifier {
  /**
   * `text` without the protocol's trailing zero byte. `standardConformingStrings` false changes how literals are read.
   * Never throws for bad SQL. A cache hit allocates nothing.
   */
  classify(text: Buffer, catalog: VolatilityCatalog, options: ClassifyOptions): Classification;
  /** A follower refused it as a write (25006): from now on its key is a write. Bounded memory. */
  learnWrite(key: string): void;
  readonly stats: {
    readonly hits: number;
    readonly misses: number;
    readonly entries: number;
    readonly parseMs: number;
  };
}

export interface ClassifyOptions {
  readonly standardConformingStrings: boolean;
  /** Where reads of pg_stat_*, pg_locks and the like go. */
  readonly systemCatalogs: 'leader' | 'follower';
}
