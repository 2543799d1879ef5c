import type { ClientError } from '../../common/errors.ts';
import type { Classification } from '../sql/types.ts';
import { errorResponse, SYNC } from '../wire/encode.ts';
import type { SessionContext } from './context.ts';
import type { Entry } from './exchange.ts';
import { EMPTY_PLAN, mergePlans, planOf, type UnitPlan } from './plan.ts';
import { type Prepared, type StatementStore, textOf } from './prepared.ts';

/** What turning a client's messages into entries needs of the session. */
export interface UnitScope {
  readonly database: string;
  readonly store: StatementStore;
  readonly catalogVersion: number;
  /** The session's search path and role now: under another one the same text may be another statement. */
  readonly environment: string;
  classify(text: Buffer): Classification;
}

export function unitScope(
  context: SessionContext,
  database: string,
  classify: UnitScope['classify'],
  environment: () => string,
): UnitScope {
  const catalog = context.catalogOf(database);
  return {
    database,
    store: context.statements,
    get catalogVersion() {
      return catalog.version;
    },
    get environment() {
      return environment();
    },
    classify,
  };
}

/** One session may name so many statements; PostgreSQL has no bound but memory. */
export const MAX_SESSION_STATEMENTS = 10_000;

/** The names that a client has given: they mean the same whichever server serves it. */
export class ClientStatements {
  readonly named = new Map<string, Prepared>();
  /** Of `named`: the client has given them up, and was told that its transaction was lost instead. Drivers do not ask again. */
  readonly givenUp = new Set<string>();
  /** Some may be of SQL. */
  anySql = false;
  unnamed: Prepared | null = null;
  readonly portals = new Map<string, Prepared | null>();
  /** Null: no Bind made one since the last Query. */
  unnamedPortal: Prepared | null = null;
  /** Takes back a Bind that made the first unnamed portal after a Query. */
  readonly dropPortal = (): void => {
    this.unnamedPortal = null;
  };

  find(name: string): Prepared | null {
    return name === '' ? this.unnamed : (this.named.get(name) ?? null);
  }

  /** Whether a new statement may have the name. */
  isFree(name: string): boolean {
    if (this.givenUp.has(name)) this.remove(name);
    return !this.named.has(name);
  }

  /** False: there is none of that name. */
  remove(name: string): boolean {
    this.givenUp.delete(name);
    return this.named.delete(name);
  }

  /** The unnamed one stays, as with PostgreSQL (DropAllPreparedStatements). */
  clear(): void {
    this.named.clear();
    this.givenUp.clear();
  }
}

/** A Query takes the unnamed statement and portal away; returns what takes that back. */
export function dropUnnamed(statements: ClientStatements): () => void {
  const { unnamed, unnamedPortal } = statements;
  statements.unnamed = null;
  statements.unnamedPortal = null;
  return () => {
    statements.unnamed = unnamed;
    statements.unnamedPortal = unnamedPortal;
  };
}

/** Messages of one client up to a Sync, or to where they have to be sent for another reason. */
export class Unit {
  readonly entries: Entry[] = [];
  plan: UnitPlan = EMPTY_PLAN;
  bytes = 0;
  /** It ends with a Sync, or is a Query: the server will say when it is ready. */
  complete = false;
  /** Part of it went to a server as it came in and is not here any more. */
  streamed = false;
  /** Key of the (last) statement, for `learnWrite`. */
  key: string | null = null;
  /** The classification of a simple Query. */
  simple: Classification | null = null;
  attempts = 0;
  /** Nodes that failed it; null: none. */
  tried: Set<string> | null = null;
  /** Run on the leader whatever the plan says: a follower refused it. */
  leaderOnly = false;
  /** All its messages are about this statement, which the proxy answers; earlier ones of the sequence were answered already. */
  own: Classification | null = null;
  ownPrepared: Prepared | null = null;
  /** It lasted too long and was cancelled: what its client is told instead of the server's error. */
  timeout: ClientError | null = null;
  /** What the SQL-level names in it meant to the session before it; null: there are none. See `align.ts`. */
  named: Map<string, Prepared | null> | null = null;
  /** Those of them that something in it has used by now; null: none. */
  used: Set<string> | null = null;
  /** Statements whose columns are not any more what the client was told. */
  changed: Prepared[] | null = null;
  /** A cancel may reach the server while it runs. */
  cancelSent = false;

  add(entry: Entry): void {
    this.entries.push(entry);
    this.bytes += entry.bytes.length;
    if (entry.kind === 'sync') this.complete = true;
  }

  /** It is not to go to this node any more, unless there is no other. */
  avoid(node: string): void {
    this.tried ??= new Set();
    this.tried.add(node);
  }

  widen(classification: Classification): void {
    this.plan = mergePlans(this.plan, planOf(classification));
    this.key = classification.key;
  }
}

export function simpleUnit(message: Buffer, classification: Classification): Unit {
  const unit = new Unit();
  unit.simple = classification;
  unit.widen(classification);
  unit.add({
    kind: 'query',
    bytes: message,
    swallow: false,
    prepared: null,
    name: '',
    tracked: unit.plan.tracked ? classification : null,
    undo: null,
  });
  unit.complete = true;
  return unit;
}

export const plainEntry = (kind: Entry['kind'], bytes: Buffer): Entry => ({
  kind,
  bytes,
  swallow: false,
  prepared: null,
  name: '',
  tracked: null,
  undo: null,
});

export const SYNC_ENTRY: Entry = plainEntry('sync', SYNC);

/** In the place of `of`: the client gets the error, and the server's transaction fails as well, by a message that is certain to. */
export function failingUnit(of: Unit, error: ClientError): Unit {
  const unit = new Unit();
  unit.add(plainEntry('fail', errorResponse(error)));
  if (of.complete) unit.add(SYNC_ENTRY);
  return unit;
}

export function reclassify(prepared: Prepared, scope: UnitScope): void {
  prepared.classification = scope.classify(textOf(prepared));
  prepared.catalogVersion = scope.catalogVersion;
}
