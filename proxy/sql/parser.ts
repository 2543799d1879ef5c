import { createRequire } from 'node:module';

/** libpg-query's tree: nested plain objects, one key per node naming its type. */
export type Tree = { readonly [key: string]: unknown };

export type Parsed =
  | { readonly kind: 'tree'; readonly statements: readonly RawStatement[] }
  | { readonly kind: 'syntax-error' }
  /** The parser itself gave up (its stack, its memory); it is loaded anew meanwhile. */
  | { readonly kind: 'fault' };

/** Offsets are bytes of the UTF-8 text; `length` 0 means up to its end. */
export interface RawStatement {
  readonly stmt: Tree;
  readonly stmt_location?: number;
  readonly stmt_len?: number;
}

export interface SqlParser {
  /** Never throws. The caller bounds the size and the nesting. */
  parse(text: string): Parsed;
  /** Milliseconds spent in it so far. */
  readonly spentMs: number;
}

interface PgQuery {
  loadModule(): Promise<void>;
  parseSync(text: string): { readonly stmts?: readonly RawStatement[] };
}

const MODULE = 'libpg-query';

/** PostgreSQL 18's own parser in WebAssembly. https://github.com/pganalyze/libpg_query */
export async function loadParser(onParsed: (ms: number) => void = () => undefined): Promise<SqlParser> {
  const require = createRequire(import.meta.url);
  let query: PgQuery | null = await load(require);
  let spentMs = 0;

  /** A trap leaves the instance's memory in an unknown state: it is never used again. */
  function reload(): void {
    query = null;
    delete require.cache[require.resolve(MODULE)];
    load(require).then(
      (loaded) => {
        query = loaded;
      },
      () => {
        // Without a parser everything goes to the leader, which is safe.
      },
    );
  }

  return {
    get spentMs() {
      return spentMs;
    },
    parse(text) {
      if (query === null) return { kind: 'fault' };
      const startedAt = performance.now();
      try {
        return { kind: 'tree', statements: query.parseSync(text).stmts ?? [] };
      } catch (error) {
        if (error instanceof Error && error.name === 'SqlError') return { kind: 'syntax-error' };
        reload();
        return { kind: 'fault' };
      } finally {
        const ms = performance.now() - startedAt;
        spentMs += ms;
        onParsed(ms);
      }
    },
  };
}

async function load(require: NodeJS.Require): Promise<PgQuery> {
  const query = require(MODULE) as PgQuery;
  await query.loadModule();
  return query;
}
