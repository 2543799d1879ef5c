import type { Analysis, Span, StatementAnalysis } from './analysis.ts';
import { NO_PINS, NO_REFERENCES } from './analysis.ts';
import { ByteCache, hashBytes } from './cache.ts';
import { decide } from './decide.ts';
import { hintOf } from './hint.ts';
import type { Normalised, Normaliser } from './normalised.ts';
import { createNormaliser } from './normalise.ts';
import { loadParser, type RawStatement, type SqlParser } from './parser.ts';
import { analyseStatement } from './statements.ts';
import type { Classification, Classifier, ClassifyOptions, VolatilityCatalog } from './types.ts';

export interface ClassifierOptions {
  /** Texts that are kept, beside a quarter as many of those that are keyed as they are. Default 8192. */
  readonly entries?: number;
  /** Any 32-bit number, so that nobody outside can tell which texts share a place in the cache. Default 0. */
  readonly seed?: number;
  /** How long each text that was not in the cache took in the parser. */
  readonly onParsed?: (ms: number) => void;
}

/** Texts longer than this are not scanned: they go to the leader. */
export const MAX_SCAN_BYTES = 1024 * 1024;
/** Texts longer than this are not parsed. */
export const MAX_PARSE_BYTES = 64 * 1024;
/** Keys longer than this are not cached. */
export const MAX_CACHED_BYTES = 16 * 1024;
const MAX_KEY_TEXT = 4096;
const CACHE_BYTES = 24 * 1024 * 1024;
/**
 * Bounds on what the parser is given: its stack holds about 5000 operators in a chain, and a text at all of these bounds takes
 * 0.1 s or more, in which nothing else is served.
 */
const MAX_DEPTH = 500;
const MAX_OPERATORS = 4000;
const MAX_WORDS = 5000;
const MAX_LEARNED = 1000;

/** Loads PostgreSQL's parser (some 20 ms) and makes a classifier with a cache of its own. */
export async function createClassifier(options: ClassifierOptions = {}): Promise<Classifier> {
  return new CachingClassifier(await loadParser(options.onParsed), createNormaliser(MAX_SCAN_BYTES), options);
}

interface Entry {
  readonly analysis: Analysis;
  classification: Classification;
  /** What `classification` was decided with. */
  catalog: VolatilityCatalog;
  version: number;
  systemCatalogs: ClassifyOptions['systemCatalogs'];
  learned: number;
}

class CachingClassifier implements Classifier {
  readonly #parser: SqlParser;
  readonly #normaliser: Normaliser;
  readonly #seed: number;
  readonly #plain: ByteCache<Entry>;
  readonly #exact: ByteCache<Entry>;
  readonly #learned = new Set<string>();
  #learnedVersion = 0;
  #hits = 0;
  #misses = 0;

  constructor(parser: SqlParser, normaliser: Normaliser, options: ClassifierOptions) {
    const entries = options.entries ?? 8192;
    this.#parser = parser;
    this.#normaliser = normaliser;
    this.#seed = (options.seed ?? 0) ^ 0x811c9dc5;
    this.#plain = new ByteCache(entries, (CACHE_BYTES * 3) / 4);
    this.#exact = new ByteCache(Math.ceil(entries / 4), CACHE_BYTES / 4);
  }

  get stats(): Classifier['stats'] {
    const entries = this.#plain.entries + this.#exact.entries;
    return { hits: this.#hits, misses: this.#misses, entries, parseMs: this.#parser.spentMs };
  }

  classify(text: Buffer, catalog: VolatilityCatalog, options: ClassifyOptions): Classification {
    const scan = this.#normaliser.run(text, !options.standardConformingStrings);
    const doubt = doubtOf(text, scan, options);
    if (doubt !== null) {
      this.#misses += 1;
      return decide(this.#unparsed(scan, doubt), catalog, options, false);
    }
    const { exact } = scan;
    const cache = exact ? this.#exact : this.#plain;
    const bytes = exact ? text : this.#normaliser.scratch;
    const length = exact ? text.length : this.#tagged(scan);
    const hash = hashBytes(bytes, length, this.#seed);
    const entry = cache.get(hash, bytes, length);
    if (entry !== undefined) {
      this.#hits += 1;
      return this.#current(entry, catalog, options);
    }
    this.#misses += 1;
    const fresh = this.#enter(this.#analyse(text, scan), catalog, options);
    // A text that the parser refused must not answer for others that differ in their literals.
    const parsed = fresh.analysis.statements[0]?.reason !== 'unparsed';
    if (length <= MAX_CACHED_BYTES && (exact || parsed)) cache.set(hash, bytes, length, fresh);
    return fresh.classification;
  }

  learnWrite(key: string): void {
    if (this.#learned.has(key)) return;
    if (this.#learned.size >= MAX_LEARNED) {
      const [oldest] = this.#learned;
      if (oldest !== undefined) this.#learned.delete(oldest);
    }
    this.#learned.add(key);
    this.#learnedVersion += 1;
  }

  /** The hint is a comment, so it is not in the normalised text. */
  #tagged(scan: Normalised): number {
    if (scan.hint === 0) return scan.length;
    this.#normaliser.scratch[scan.length] = scan.hint;
    return scan.length + 1;
  }

  #current(entry: Entry, catalog: VolatilityCatalog, options: ClassifyOptions): Classification {
    if (
      entry.catalog !== catalog ||
      entry.version !== catalog.version ||
      entry.systemCatalogs !== options.systemCatalogs ||
      entry.learned !== this.#learnedVersion
    ) {
      Object.assign(entry, this.#enter(entry.analysis, catalog, options));
    }
    return entry.classification;
  }

  #enter(analysis: Analysis, catalog: VolatilityCatalog, options: ClassifyOptions): Entry {
    return {
      analysis,
      classification: decide(analysis, catalog, options, this.#learned.has(analysis.key)),
      catalog,
      version: catalog.version,
      systemCatalogs: options.systemCatalogs,
      learned: this.#learnedVersion,
    };
  }

  #analyse(text: Buffer, scan: Normalised): Analysis {
    const key = this.#keyOf(scan);
    if (scan.length === 0) return { key, statements: [], hint: hintOf(scan.hint) };
    if (text.length > MAX_PARSE_BYTES || isComplex(scan)) return this.#unparsed(scan, 'unseen');
    const sql = text.toString('utf8');
    const parsed = this.#parser.parse(sql);
    if (parsed.kind !== 'tree') return this.#unparsed(scan, parsed.kind === 'fault' ? 'unseen' : 'refused');
    // The parser counts bytes of valid UTF-8; in a shared entry offsets would be another text's.
    const located = scan.exact && !sql.includes('\ufffd');
    const statements = parsed.statements.map((raw) => analyseStatement(raw.stmt, spanOf(text, raw, located)));
    return { key, statements, hint: hintOf(scan.hint) };
  }

  /**
   * `refused`: PostgreSQL will refuse it as the parser did, so nothing stays behind. `unseen`: nobody looked. Where the scan
   * saw only plain reads and writes, a large INSERT say, that is a write; else anything may have been done to the session.
   */
  #unparsed(scan: Normalised, doubt: 'refused' | 'unseen'): Analysis {
    const plain = doubt === 'unseen' && !scan.sessionState;
    const statement: StatementAnalysis = {
      info: { start: -1, end: -1, kind: plain ? 'write' : 'unparsed' },
      target: 'leader',
      reason: 'unparsed',
      node: null,
      references: NO_REFERENCES,
      pins: doubt === 'refused' || plain ? NO_PINS : ['session-state'],
      retryable: false,
    };
    return { key: this.#keyOf(scan), statements: [statement], hint: hintOf(scan.hint) };
  }

  #keyOf(scan: Normalised): string {
    const { scratch } = this.#normaliser;
    const text = scratch.toString('utf8', 0, Math.min(scan.length, MAX_KEY_TEXT));
    if (scan.length <= MAX_KEY_TEXT) return text;
    return `${text}… #${(hashBytes(scratch, scan.length, 0) >>> 0).toString(16)}`;
  }
}

/** Why the text is not to be parsed at all; null: it is. */
function doubtOf(text: Buffer, scan: Normalised, options: ClassifyOptions): 'refused' | 'unseen' | null {
  if (text.length > MAX_SCAN_BYTES) return 'unseen';
  if (scan.broken) return 'refused';
  // The parser would take a backslash in '…' for itself.
  return !options.standardConformingStrings && text.includes(0x5c) ? 'unseen' : null;
}

function isComplex(scan: Normalised): boolean {
  return scan.depth > MAX_DEPTH || scan.operators > MAX_OPERATORS || scan.words > MAX_WORDS;
}

function spanOf(text: Buffer, raw: RawStatement, located: boolean): Span {
  if (!located) return { text, start: -1, end: -1 };
  const start = raw.stmt_location ?? 0;
  const length = raw.stmt_len ?? 0;
  return { text, start, end: length === 0 ? text.length : start + length };
}
