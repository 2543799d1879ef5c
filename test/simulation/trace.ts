const KEPT_LINES = 600;

/** What happened, in words, newest last. Only the last lines are kept; the hash covers all of them. */
export class Trace {
  #hash = 0x811c9dc5;
  #lines: string[] = [];
  #count = 0;
  readonly #now: () => number;
  readonly #keep: number;

  constructor(now: () => number, keep = KEPT_LINES) {
    this.#now = now;
    this.#keep = keep;
  }

  add(who: string, what: string): void {
    const line = `${this.#now().toFixed(1).padStart(9)} ${who.padEnd(7)} ${what}`;
    for (let i = 0; i < line.length; i++) this.#hash = Math.imul(this.#hash ^ line.charCodeAt(i), 0x01000193);
    this.#count++;
    this.#lines.push(line);
    if (this.#lines.length > 2 * this.#keep) this.#lines = this.#lines.slice(-this.#keep);
  }

  /** FNV-1a over every line: the same seed must give the same one. */
  get hash(): string {
    return `${this.#count}-${(this.#hash >>> 0).toString(16).padStart(8, '0')}`;
  }

  last(lines: number): string {
    return this.#lines.slice(-lines).join('\n');
  }
}
