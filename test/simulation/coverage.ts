import { table } from '../../election/core/table.ts';
import type { Step } from '../../election/core/types.ts';

/**
 * Which cells of the state × input table runs have gone through, and from which state to which. `wrap` counts for one
 * agent's step; one Coverage may count for many runs.
 */
export class Coverage {
  readonly #cells = new Map<string, number>();
  readonly #transitions = new Map<string, number>();

  readonly wrap =
    (step: Step): Step =>
    (state, input) => {
      const result = step(state, input);
      const from = state.mode.kind;
      const to = result.state.mode.kind;
      add(this.#cells, `${from} × ${input.type}`);
      if (from !== to) add(this.#transitions, `${from} → ${to}`);
      return result;
    };

  /** Cells of the table that no run has gone through. */
  missing(): string[] {
    const all = Object.entries(table).flatMap(([state, row]) => Object.keys(row).map((input) => `${state} × ${input}`));
    return all.filter((cell) => !this.#cells.has(cell));
  }

  get transitions(): ReadonlyMap<string, number> {
    return this.#transitions;
  }

  report(): string {
    const cells = Object.values(table).reduce((sum, row) => sum + Object.keys(row).length, 0);
    const missing = this.missing();
    const seen = [...this.#transitions].sort(([a], [b]) => (a < b ? -1 : 1));
    return [
      `${cells - missing.length} of ${cells} cells of state × input`,
      ...missing.map((cell) => `  never: ${cell}`),
      `${seen.length} transitions`,
      ...seen.map(([transition, count]) => `  ${transition.padEnd(28)} ${count}`),
    ].join('\n');
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
