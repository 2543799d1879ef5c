import { ownBytes } from '../../common/own-bytes.ts';
import type { Classification } from '../sql/types.ts';
import { parse } from '../wire/encode.ts';

/**
 * A prepared statement as the proxy keeps it. Sessions map their own names to these; servers have them under
 * `serverName`, which is the same on every server and for every session with the same text and parameter types.
 */
export interface Prepared {
  /** '' for an unnamed one, which belongs to one session. */
  readonly serverName: string;
  /** SQL-level PREPARE: its text as it came, and `parse` is empty. Servers have it under the client's own name. */
  readonly sql: Buffer | null;
  /** What else decides what its text means (`environmentOf`). */
  readonly environment: string;
  /** The Parse message that makes it on a server. */
  readonly parse: Buffer;
  /** The SQL text within `parse`. */
  readonly textStart: number;
  readonly textEnd: number;
  /** Renewed when the catalog changed or the statement turned out to be a write. */
  classification: Classification;
  catalogVersion: number;
  /** The columns that a client was told of it (`columnsOf`); null: nobody asked. */
  told: string | null;
}

/** Statements known to the process; an evicted one only loses its sharing. */
const MAX_STATEMENTS = 20_000;
/** Longer texts are not shared, so that they do not fill the memory as keys. */
const MAX_SHARED_BYTES = 64 * 1024;

/**
 * A literal such as 'now' or 'today 12:00', which may stand for a moment: that of its Parse, so it is not another session's. A text that only
 * looks like one loses its sharing and nothing else.
 */
const OF_ITS_TIME = /['$][\s\d:.+\-[({"]{0,30}(?:now|today|tomorrow|yesterday)\b(?!\s{0,8}\()/i;

export interface ParseParts {
  readonly text: Buffer;
  /** Count and oids, as in the message. */
  readonly oids: Buffer;
  readonly classification: Classification;
  readonly catalogVersion: number;
  readonly environment: string;
}

/** Gives equal statements of one database equal server names. */
export class StatementStore {
  readonly #byText = new Map<string, Prepared>();
  /** How often the schema of a database changed, as far as this proxy saw. */
  readonly #generations = new Map<string, number>();
  #last = 0;

  intern(database: string, parts: ParseParts): Prepared {
    if (parts.text.length > MAX_SHARED_BYTES) return this.#make(parts);
    const key = this.#keyOf(database, parts.text, parts.oids, parts.environment);
    const known = this.#byText.get(key);
    if (known !== undefined) {
      known.classification = parts.classification;
      known.catalogVersion = parts.catalogVersion;
      return known;
    }
    if (this.#byText.size >= MAX_STATEMENTS) {
      const oldest = this.#byText.keys().next();
      if (oldest.done !== true) this.#byText.delete(oldest.value);
    }
    const prepared = this.#make(parts);
    if (!OF_ITS_TIME.test(key)) this.#byText.set(key, prepared);
    return prepared;
  }

  /** The same statement under another name: servers refuse it under the old one, since its result type changed (0A000). */
  renew(database: string, prepared: Prepared): Prepared {
    const { parse: message, textStart, textEnd, classification, catalogVersion, environment } = prepared;
    const text = message.subarray(textStart, textEnd);
    const oids = message.subarray(textEnd + 1);
    const key = this.#keyOf(database, text, oids, environment);
    if (this.#byText.get(key) === prepared) this.#byText.delete(key);
    return this.intern(database, { text, oids, classification, catalogVersion, environment });
  }

  /**
   * After DDL: statements that are prepared from now on get other names than those from before. A session that had
   * prepared one keeps it, and its refusal by PostgreSQL if the result type changed.
   */
  forgetDatabase(database: string): void {
    this.#generations.set(database, (this.#generations.get(database) ?? 0) + 1);
  }

  #keyOf(database: string, text: Buffer, oids: Buffer, environment: string): string {
    const generation = this.#generations.get(database) ?? 0;
    return `${database}\0${generation}\0${environment}\0${oids.toString('latin1')}\0${text.toString('latin1')}`;
  }

  #make(parts: ParseParts): Prepared {
    this.#last += 1;
    const prepared = prepare(`leasehold_${this.#last}`, parts);
    return { ...prepared, parse: ownBytes(prepared.parse) };
  }
}

/** The SQL text that runs when it is executed. */
export function textOf(prepared: Prepared): Buffer {
  const { sql, parse: message, textStart, textEnd } = prepared;
  return (sql ?? message).subarray(textStart, textEnd);
}

export function prepare(serverName: string, parts: ParseParts): Prepared {
  const textStart = 5 + serverName.length + 1;
  return {
    serverName,
    sql: null,
    told: null,
    environment: parts.environment,
    parse: parse(serverName, parts.text, parts.oids),
    textStart,
    textEnd: textStart + parts.text.length,
    classification: parts.classification,
    catalogVersion: parts.catalogVersion,
  };
}
