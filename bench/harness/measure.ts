import { runCopyOut } from './copy-run.ts';
import { runIdle } from './idle-run.ts';
import type { Cell, SideName } from './matrix.ts';
import { type Figures, pgbenchArguments, runPgbench } from './pgbench-run.ts';
import type { CellResult } from './results.ts';
import type { Side, Stage } from './sides.ts';
import { BIG_BYTES } from './workloads.ts';

const WARM_SECONDS = 1;

export interface MeasureOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly scale: number;
  readonly report: (line: string) => void;
  /** By `performance.now()`: a cell is measured again only if it can be done by then. */
  readonly untilMs: number;
  /** Ends it between two measurements; it rejects with the reason. */
  readonly signal: AbortSignal;
}

/**
 * Every cell in every round, the sides of a cell one after another: what burdens the machine for a while burdens all of
 * them. A side that fails in a cell has an error there and is not tried again in it.
 */
export async function measure(
  cells: readonly Cell[],
  stage: Stage,
  options: MeasureOptions,
): Promise<{ readonly results: readonly CellResult[]; readonly commands: readonly (readonly [string, string])[] }> {
  const results = cells.map((cell) => ({
    cell,
    figures: new Map<SideName, Figures[]>(cell.sides.map((side) => [side, []])),
    errors: new Map<SideName, string>(),
  }));
  for (const { cell, errors } of results) {
    for (const name of cell.sides) {
      const why = stage.absent.get(name);
      if (why !== undefined) errors.set(name, why);
    }
  }
  await warm(cells, stage, options);
  const lasted = new Map<Cell, number>();
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const { cell, figures, errors } of results) {
      const startedMs = performance.now();
      if (round > 1 && startedMs + (lasted.get(cell) ?? 0) > options.untilMs) continue;
      const line: string[] = [];
      for (const name of cell.sides) {
        const side = stage.sides.get(name);
        options.signal.throwIfAborted();
        if (side === undefined || errors.has(name)) continue;
        try {
          const got = await once(cell, side, stage, options);
          figures.get(name)?.push(got);
          line.push(`${name} ${brief(got)}`);
        } catch (error) {
          errors.set(name, (error as Error).message);
          line.push(`${name} failed: ${(error as Error).message.split('\n')[0]}`);
        }
      }
      lasted.set(cell, performance.now() - startedMs);
      options.report(`round ${round} of ${options.rounds}, ${cell.id}: ${line.join(', ')}`);
    }
  }
  return { results, commands: commandsOf(cells, stage, options) };
}

/** What compiles its code while it runs, and what fills caches, does so before anything counts. */
const WARM: Cell = {
  id: 'warm',
  workload: 'read',
  protocol: 'simple',
  clients: 64,
  tls: false,
  newConnections: false,
  sides: [],
  quick: false,
};

async function warm(cells: readonly Cell[], stage: Stage, options: MeasureOptions): Promise<void> {
  const warmed = new Set<number | null>();
  for (const name of new Set(cells.flatMap(({ sides }) => sides))) {
    const side = stage.sides.get(name);
    if (side === undefined || warmed.has(side.pid)) continue;
    warmed.add(side.pid);
    options.signal.throwIfAborted();
    try {
      for (const protocol of ['simple', 'extended', 'prepared'] as const) {
        await runPgbench({ ...WARM, protocol }, side, WARM_SECONDS, options.scale);
      }
    } catch (error) {
      options.report(`warming ${name}: ${(error as Error).message}`); // shows in its cells
    }
  }
}

async function once(cell: Cell, side: Side, stage: Stage, { seconds, scale }: MeasureOptions): Promise<Figures> {
  switch (cell.workload) {
    case 'idle': {
      const fresh = await stage.start(side.name);
      try {
        return await runIdle(fresh, cell.clients, stage.verifier);
      } finally {
        await fresh.stop();
      }
    }
    case 'copy':
      return await runCopyOut(side);
    case 'big': {
      const figures = await runPgbench(cell, side, seconds, scale);
      return { ...figures, bytesPerSecond: figures.perSecond * BIG_BYTES };
    }
    default:
      return await runPgbench(cell, side, seconds, scale);
  }
}

function commandsOf(cells: readonly Cell[], stage: Stage, { seconds, scale }: MeasureOptions): [string, string][] {
  return cells.flatMap((cell): [string, string][] => {
    const side = stage.sides.get(cell.sides[0] ?? 'direct');
    if (side === undefined || cell.workload === 'copy' || cell.workload === 'idle') return [];
    const args = pgbenchArguments(cell, side, seconds, scale).map((arg) => arg.replace(/^\/.*\/bench\//, 'bench/'));
    const mode = cell.tls ? 'PGSSLMODE=require ' : '';
    return [[cell.id, `${mode}pgbench ${args.join(' ')} app`]];
  });
}

function brief({ perSecond, cpuUs, bytesPerSecond, residentBytes }: Figures): string {
  if (residentBytes !== null) return `${(residentBytes / 1024).toFixed(1)} KiB`;
  const rate = bytesPerSecond === null ? `${perSecond.toFixed(0)}/s` : `${(bytesPerSecond / 1e6).toFixed(0)} MB/s`;
  return cpuUs === null || bytesPerSecond !== null ? rate : `${rate} ${cpuUs.toFixed(1)} µs`;
}
