import { Quantiles } from './buckets.ts';

/** What is known of one normalised statement in one database. Times in milliseconds. */
export class StatementStats {
  readonly database: string;
  /** Without literals, from the classifier. */
  readonly text: string;
  /** The classification's word, as in ROUTES. */
  readonly label: string;
  readonly times = new Quantiles();
  calls = 0;
  errors = 0;
  onLeader = 0;
  onFollower = 0;
  totalMs = 0;
  maxMs = 0;
  usedAt = 0;

  constructor(database: string, text: string, label: string) {
    this.database = database;
    this.text = text;
    this.label = label;
  }
}

/** A bounded table of statements: when it is full, the quarter that was not used for longest is forgotten. */
export class StatementTable {
  readonly #max: number;
  readonly #byDatabase = new Map<string, Map<string, StatementStats>>();
  #size = 0;
  #clock = 0;
  #forgotten = 0;

  constructor(max = 1000) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** How many have been forgotten since the start. */
  get forgotten(): number {
    return this.#forgotten;
  }

  entry(database: string, text: string, label: string): StatementStats {
    const entry = this.#byDatabase.get(database)?.get(text) ?? this.#add(database, text, label);
    this.#clock += 1;
    entry.usedAt = this.#clock;
    return entry;
  }

  /** By total time, the most first. */
  top(limit: number): StatementStats[] {
    return this.#all()
      .sort((a, b) => b.totalMs - a.totalMs)
      .slice(0, limit);
  }

  #all(): StatementStats[] {
    return [...this.#byDatabase.values()].flatMap((texts) => [...texts.values()]);
  }

  #add(database: string, text: string, label: string): StatementStats {
    if (this.#size >= this.#max) this.#forget();
    let texts = this.#byDatabase.get(database);
    if (texts === undefined) this.#byDatabase.set(database, (texts = new Map()));
    const entry = new StatementStats(database, text, label);
    texts.set(text, entry);
    this.#size += 1;
    return entry;
  }

  #forget(): void {
    const oldest = this.#all()
      .sort((a, b) => a.usedAt - b.usedAt)
      .slice(0, Math.ceil(this.#max / 4));
    for (const { database, text } of oldest) {
      const texts = this.#byDatabase.get(database);
      texts?.delete(text);
      if (texts?.size === 0) this.#byDatabase.delete(database);
    }
    this.#size -= oldest.length;
    this.#forgotten += oldest.length;
  }
}
