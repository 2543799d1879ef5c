import { table } from '../../election/core/table.ts';
import { FAULTS } from './fault-list.ts';
import type { Step } from '../../election/core/types.ts';

/**
 * Which cells of the state × input table runs have gone through, and from which state to which. `wrap` counts for one
 * agent's step; one Coverage may count for many runs.
 */
export class Coverage {
  readonly #cells = new Map<string, number>();
  readonly #transitions = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  readonly #pairs = new Map<string, number>();

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

  /** For `RunOptions.onFault`. */
  readonly fault = (name: string, during: readonly string[]): void => {
    add(this.#faults, name);
    for (const other of during) add(this.#pairs, [name, other].sort().join(' + '));
  };

  /** Pairs of faults of which one began while the other lasted. Of faults that are over at once there are none: they do not last. */
  get pairs(): ReadonlyMap<string, number> {
    return this.#pairs;
  }

  /** Faults that no run has had. */
  missingFaults(): string[] {
    return Object.keys(FAULTS).filter((name) => !this.#faults.has(name));
  }

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
      ...this.#faultReport(),
    ].join('\n');
  }

  #faultReport(): string[] {
    const names = Object.keys(FAULTS);
    const faults = [...this.#faults].sort(([a], [b]) => (a < b ? -1 : 1));
    const lasting = names.filter((name) => [...this.#pairs.keys()].some((pair) => pair.split(' + ').includes(name)));
    const possible = names.flatMap((a, i) => names.slice(i).map((b) => [a, b].sort().join(' + ')));
    const missing = possible.filter((pair) => !this.#pairs.has(pair));
    return [
      `${faults.length} of ${names.length} faults`,
      ...faults.map(([fault, count]) => `  ${fault.padEnd(28)} ${count}`),
      `${this.#pairs.size} of ${possible.length} pairs of faults, of ${lasting.length} faults that last`,
      ...(missing.length <= MOST_MISSING ? missing : missing.slice(0, MOST_MISSING)).map((pair) => `  never: ${pair}`),
    ];
  }
}

const MOST_MISSING = 40;

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
