import type { SideName } from './matrix.ts';
import type { Figures } from './pgbench-run.ts';
import { type CellResult, mainFigures, type Run } from './results.ts';
import { ratioOf, type Spread, spreadOf } from './statistics.ts';

export const TITLES: Readonly<Record<SideName, string>> = {
  direct: 'no proxy',
  pgbouncer: 'PgBouncer',
  odyssey: 'Odyssey',
  haproxy: 'HAProxy',
  pgpool: 'Pgpool-II',
  leasehold: 'Leasehold, leader',
  'leasehold-eventual': 'Leasehold, split, eventual',
  'leasehold-session': 'Leasehold, split, session',
};

/** The report for people. `plots`: names of the SVG files beside it. */
export function toMarkdown(run: Run, plots: readonly string[]): string {
  const lines = [
    '# Results',
    '',
    `\`${run.command}\`, ${run.startedAt}: up to ${run.rounds} rounds, sides in turn, ${run.seconds} s each after a second of warming up.`,
    'Figures are medians over the rounds, with the least and the most; ratios are of the two sides’ figures in the same round.',
    '“CPU” is user and system time of the program between, for each transaction. Everything runs on one machine, the clients too.',
    '',
    ...table(['', ''], run.facts),
    '',
  ];
  for (const plot of plots) lines.push(`![${plot}](${plot})`, '');
  for (const result of run.results) lines.push(...cellLines(result), '');
  lines.push('## Commands', '', ...run.commands.map(([id, command]) => `- ${id}: \`${command}\``), '');
  return lines.join('\n');
}

function cellLines(result: CellResult): string[] {
  const { cell, errors } = result;
  const measures = measuresOf(result);
  const rows = [...result.figures]
    .filter(([, figures]) => figures.length > 0)
    .map(([side]) => [TITLES[side], ...measures.map(({ of }) => of(side))]);
  const rounds = Math.max(0, ...[...result.figures.values()].map(({ length }) => length));
  const lines = [
    `## ${cell.id}`,
    '',
    `${rounds} ${rounds === 1 ? 'round' : 'rounds'}`,
    '',
    ...table(['', ...measures.map(({ title }) => title)], rows),
  ];
  for (const [side, why] of errors) lines.push('', `${TITLES[side]}: no figures. ${why.split('\n')[0]}`);
  const failed = [...result.figures].filter(([, figures]) => figures.some((each) => each.failed > 0));
  for (const [side, figures] of failed) {
    lines.push('', `${TITLES[side]}: ${figures.reduce((sum, each) => sum + each.failed, 0)} transactions failed.`);
  }
  return lines;
}

interface Measure {
  readonly title: string;
  readonly of: (side: SideName) => string;
}

function measuresOf(result: CellResult): Measure[] {
  const { workload } = result.cell;
  const column = (title: string, figure: (each: Figures) => number | null, digits: number): Measure => ({
    title,
    of: (side) => {
      const figures = (result.figures.get(side) ?? []).map(figure);
      return withSpread(spreadOf(figures.filter((each) => each !== null)), digits);
    },
  });
  const ratio = (other: SideName): Measure => ({
    title: `÷ ${TITLES[other]}`,
    of: (side) => (side === other ? '' : withSpread(ratioOf(mainFigures(result, side), mainFigures(result, other)), 2)),
  });
  const others = (['direct', 'pgbouncer', 'haproxy', 'pgpool'] as const)
    .filter((side) => result.figures.has(side))
    .map(ratio);
  if (workload === 'idle') {
    const memory = column('KiB a client', (each) => (each.residentBytes ?? 0) / 1024, 1);
    return [
      memory,
      ...others,
      column('log-ins a second', (each) => each.perSecond, 0),
      column('CPU of a log-in, µs', (each) => each.cpuUs, 0),
    ];
  }
  const rate =
    workload === 'big' || workload === 'copy'
      ? column('MB a second', (each) => (each.bytesPerSecond ?? 0) / 1e6, 0)
      : column('a second', (each) => each.perSecond, 0);
  const cpu =
    workload === 'big' || workload === 'copy'
      ? column('CPU, ms', (each) => (each.cpuUs === null ? null : each.cpuUs / 1000), 1)
      : column('CPU, µs', (each) => each.cpuUs, 1);
  const digits = 3;
  return [
    rate,
    ...others,
    cpu,
    ...(workload === 'copy'
      ? []
      : [
          column('p50, ms', (each) => each.latency?.p50 ?? null, digits),
          column('p99, ms', (each) => each.latency?.p99 ?? null, digits),
          column('p99.9, ms', (each) => each.latency?.p999 ?? null, digits),
        ]),
  ];
}

/** `12,345 (12,001–12,900)`; nothing for nothing. */
export function withSpread(spread: Spread | null, digits: number): string {
  if (spread === null) return '';
  const text = (value: number): string =>
    value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const { median, least, most } = spread;
  return least === most ? text(median) : `${text(median)} (${text(least)}–${text(most)})`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '--:'))), ...rows.map(line)];
}
