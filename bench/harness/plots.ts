import type { Cell } from './matrix.ts';
import { type CellResult, mainFigures } from './results.ts';
import { spreadOf } from './statistics.ts';
import { barChart, type Bars } from './svg.ts';
import { TITLES } from './table.ts';

interface Plot {
  readonly file: string;
  readonly title: string;
  readonly unit: string;
  readonly holds: (cell: Cell) => boolean;
  readonly cpu?: true;
}

const isRead = ({ workload, newConnections }: Cell): boolean => workload === 'read' && !newConnections;
const PLOTS: readonly Plot[] = [
  { file: 'reads.svg', title: 'Reads', unit: 'a second', holds: (cell) => isRead(cell) && !cell.tls },
  {
    file: 'reads-cpu.svg',
    title: 'Processor time of the proxy for a read',
    unit: 'µs',
    holds: (cell) => isRead(cell) && !cell.tls,
    cpu: true,
  },
  { file: 'reads-tls.svg', title: 'Reads over TLS', unit: 'a second', holds: (cell) => isRead(cell) && cell.tls },
  {
    file: 'writes.svg',
    title: 'TPC-B-like, and nine reads to one write',
    unit: 'a second',
    holds: ({ workload }) => workload === 'tpcb' || workload === 'mix',
  },
  { file: 'connections.svg', title: 'New connections', unit: 'a second', holds: (cell) => cell.newConnections },
];

/** The pictures that the results allow: file name and SVG. */
export function plotsOf(results: readonly CellResult[]): readonly (readonly [string, string])[] {
  return PLOTS.flatMap((plot) => {
    const groups = results.filter(({ cell }) => plot.holds(cell)).map((result) => groupOf(result, plot.cpu === true));
    const { title, unit } = plot;
    return groups.some(({ bars }) => bars.length > 0) ? [[plot.file, barChart({ title, unit, groups })] as const] : [];
  });
}

function groupOf(result: CellResult, cpu: boolean): Bars['groups'][number] {
  const bars = [...result.figures.keys()].flatMap((side) => {
    const all = result.figures.get(side) ?? [];
    const spread = spreadOf(cpu ? all.flatMap(({ cpuUs }) => cpuUs ?? []) : mainFigures(result, side));
    if (spread === null) return [];
    return [{ name: TITLES[side], value: spread.median, least: spread.least, most: spread.most }];
  });
  return { name: result.cell.id, bars };
}
