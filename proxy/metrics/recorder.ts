import type { NodeRole } from '../admin/types.ts';
import type { UnitPlan } from '../session/plan.ts';
import { Buckets } from './buckets.ts';
import { DatabaseTotals } from './database-totals.ts';
import { StatementTable } from './statement-table.ts';

/** Coarser than a classification's word: there are histograms of these. */
export type QueryClass = 'read' | 'write' | 'ddl' | 'transaction' | 'other';

/** Statements of one word that one node served in one role. Resolved once, then counted without looking anything up by text. */
export interface RouteCell {
  readonly node: string;
  readonly role: NodeRole;
  readonly label: string;
  readonly queryClass: QueryClass;
  count: number;
  sumMs: number;
  /** Shared by all cells of the node, role and class. */
  readonly duration: Buckets;
}

/** A word is a label: a mistake that made words of texts must not make time series without end. */
const MAX_LABELS = 60;
/** Nodes come and go, and keep their series. */
const MAX_NODES = 50;
const MAX_DATABASES = 200;
/** For those above the bound. */
const OTHERS = 'other';

/** What all sessions of a proxy count, in memory, in total since its start. Everything in it is bounded. */
export class Recorder {
  readonly statements = new StatementTable();
  readonly connectionWait = new Buckets();
  readonly transactions = new Buckets();
  readonly serverErrors = new Map<string, number>();
  /** Brings what is counted elsewhere up to date: the bytes of the sessions that are open. */
  refresh: () => void = () => undefined;
  readonly #databases = new Map<string, DatabaseTotals>();
  readonly #nodes = { leader: new Map<string, NodeCells>(), follower: new Map<string, NodeCells>() };

  cell(node: string, role: NodeRole, plan: UnitPlan): RouteCell {
    return this.#nodes[role].get(node)?.cells.get(plan.label) ?? this.#add(node, role, plan);
  }

  *cells(): IterableIterator<RouteCell> {
    for (const nodes of [this.#nodes.leader, this.#nodes.follower]) {
      for (const { cells } of nodes.values()) yield* cells.values();
    }
  }

  *durations(): IterableIterator<{ node: string; role: NodeRole; queryClass: QueryClass; buckets: Buckets }> {
    for (const role of ['leader', 'follower'] as const) {
      for (const [node, { durations }] of this.#nodes[role]) {
        for (const [queryClass, buckets] of durations) yield { node, role, queryClass, buckets };
      }
    }
  }

  /** Of each database. */
  totals(): ReadonlyMap<string, DatabaseTotals> {
    this.refresh();
    return this.#databases;
  }

  /** Only for a database that a server has let somebody into: names come from clients. */
  database(name: string): DatabaseTotals {
    const key = this.#databases.has(name) || this.#databases.size < MAX_DATABASES ? name : OTHERS;
    let totals = this.#databases.get(key);
    if (totals === undefined) this.#databases.set(key, (totals = new DatabaseTotals()));
    return totals;
  }

  serverError(sqlState: string): void {
    const key = this.serverErrors.has(sqlState) || this.serverErrors.size < MAX_SQL_STATES ? sqlState : OTHERS;
    this.serverErrors.set(key, (this.serverErrors.get(key) ?? 0) + 1);
  }

  #add(node: string, role: NodeRole, plan: UnitPlan): RouteCell {
    const nodes = this.#nodes[role];
    const name = nodes.has(node) || nodes.size < MAX_NODES ? node : OTHERS;
    let of = nodes.get(name);
    if (of === undefined) nodes.set(name, (of = { cells: new Map(), durations: new Map() }));
    const label = of.cells.has(plan.label) || of.cells.size < MAX_LABELS ? plan.label : OTHERS;
    const queryClass = classOf(plan);
    let duration = of.durations.get(queryClass);
    if (duration === undefined) of.durations.set(queryClass, (duration = new Buckets()));
    let cell = of.cells.get(label);
    if (cell === undefined) {
      cell = { node: name, role, label, queryClass, count: 0, sumMs: 0, duration };
      of.cells.set(label, cell);
    }
    return cell;
  }
}

interface NodeCells {
  readonly cells: Map<string, RouteCell>;
  readonly durations: Map<QueryClass, Buckets>;
}

/** PostgreSQL 18 has some 260; functions may raise any. */
const MAX_SQL_STATES = 300;

function classOf(plan: UnitPlan): QueryClass {
  if (plan.committing || plan.begin !== null) return 'transaction';
  if (plan.ddl) return 'ddl';
  if (plan.label === 'none') return 'other';
  return plan.mayWrite ? 'write' : 'read';
}
