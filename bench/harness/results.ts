import type { Cell, SideName } from './matrix.ts';
import type { Figures } from './pgbench-run.ts';

/** What the rounds of a cell gave. */
export interface CellResult {
  readonly cell: Cell;
  /** By side, one for each round. */
  readonly figures: ReadonlyMap<SideName, readonly Figures[]>;
  /** By side: why it has no figures. */
  readonly errors: ReadonlyMap<SideName, string>;
}

/** All that the report says. */
export interface Run {
  readonly startedAt: string;
  readonly command: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly facts: readonly (readonly [string, string])[];
  /** Commands of the clients, one for each cell, as they were given to the first side. */
  readonly commands: readonly (readonly [string, string])[];
  readonly results: readonly CellResult[];
}

/** The question of a cell, as one figure of each round; more is better, but for `resident`. */
export function mainFigures(result: CellResult, side: SideName): number[] {
  const all = result.figures.get(side) ?? [];
  return all.map((each) => each.residentBytes ?? each.bytesPerSecond ?? each.perSecond);
}

/** As JSON: plain objects, every round of every side. */
export function toJson(run: Run): string {
  const results = run.results.map(({ cell, figures, errors }) => ({
    cell: cell.id,
    sides: Object.fromEntries(figures),
    errors: Object.fromEntries(errors),
  }));
  return `${JSON.stringify({ ...run, results }, null, 1)}\n`;
}
