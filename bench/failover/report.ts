import { distributionOf } from './distribution.ts';
import type { Measurement } from './measure.ts';
import type { Scenario } from './schedule.ts';

export interface Report {
  readonly command: string;
  readonly startedAt: string;
  readonly minutes: number;
  readonly machine: string;
  readonly versions: string;
  /** Load averages before and after; what else ran on the machine shows there. */
  readonly load: string;
  /** Ours first. */
  readonly sides: readonly { readonly name: string; readonly about: string }[];
  readonly measurements: readonly Measurement[];
}

const TITLES: Record<Scenario, string> = {
  crash: 'PostgreSQL of the leader killed (SIGKILL to every process of the server)',
  host: 'The leader’s host lost (agent, watchdog and PostgreSQL killed, and kept down)',
  switchover: 'Planned switchover under pgbench with 32 clients',
};

const MEANINGS: Record<Scenario, string> = {
  crash: 'One client appends rows one by one. Milliseconds from the last acknowledged write to the next one.',
  host: 'One client appends rows one by one. Milliseconds from the last acknowledged write to the next one.',
  switchover:
    'The longest time without an acknowledged transaction, in milliseconds. Ours is that of the unluckiest of the 32 clients. pgbench cannot reconnect: where clients were thrown out it is started again as soon as it has ended, so that peers are judged, kindly, by the time in which no client at all was served.',
};

/** The document, in Markdown. */
export function renderReport(report: Report): string {
  const scenarios = [...new Set(report.measurements.map(({ scenario }) => scenario))];
  return `# Failover, measured

\`${report.command}\`

${report.startedAt}, ${report.minutes} minutes, all sides in turn on one machine: ${report.machine}. ${report.versions}. Load averages (1, 5, 15 minutes): ${report.load}.

${report.sides.map(({ name, about }) => `- **${name}**: ${about}`).join('\n')}

Every acknowledged write was looked up afterwards: ${report.measurements.reduce((sum, { acknowledged }) => sum + acknowledged, 0)} of them, lost: ${report.measurements.reduce((sum, { lost }) => sum + lost, 0)}.

${scenarios.map((scenario) => section(report, scenario)).join('\n')}`;
}

/** What a row of the table is about: one side, judged by one of the two stalls. */
interface Row {
  readonly title: string;
  readonly side: string;
  readonly stallOf: (one: Measurement) => number | null;
}

/**
 * In a switchover we are judged by our unluckiest client, peers by the time in which none of theirs was served: pgbench cannot
 * reconnect, so a peer's client that was thrown out waits until the others are.
 */
function rowsOf({ sides }: Report, scenario: Scenario): Row[] {
  const [ours, ...peers] = sides.map(({ name }) => name);
  if (ours === undefined) return [];
  const own = (one: Measurement) => one.stallMs;
  const ofAll = (one: Measurement) => one.stallOfAllMs;
  if (scenario !== 'switchover') return [ours, ...peers].map((side) => ({ title: side, side, stallOf: own }));
  return [
    { title: `${ours}, the unluckiest client`, side: ours, stallOf: own },
    ...[ours, ...peers].map((side) => ({ title: `${side}, no client served`, side, stallOf: ofAll })),
  ];
}

function section(report: Report, scenario: Scenario): string {
  const of = (side: string) => report.measurements.filter((one) => one.scenario === scenario && one.side === side);
  const rows = rowsOf(report, scenario);
  const [first] = rows;
  const median = first === undefined ? null : (distributionOf(stallsIn(of(first.side), first))?.median ?? null);
  const lines = rows.map((row) => line(row, of(row.side), row.side === first?.side ? null : median));
  const runs = rows.map((row) => `- ${row.title}: ${eachRun(of(row.side), row)}`);
  const phases = phasesText(of(first?.side ?? ''));
  return `## ${TITLES[scenario]}

${MEANINGS[scenario]}

| | runs | min | median | p90 | max | median, to ours | client errors | connections lost | acknowledged | lost |
|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|
${lines.join('\n')}

Each run:

${runs.join('\n')}
${phases === '' ? '' : `\nOurs by phase, median: ${phases}.\n`}`;
}

function line(row: Row, found: readonly Measurement[], ours: number | null): string {
  const spread = distributionOf(stallsIn(found, row));
  const cells =
    spread === null ? ['–', '–', '–', '–'] : [spread.least, spread.median, spread.p90, spread.most].map(round);
  const ratio = ours === null || spread === null ? '' : `${(spread.median / ours).toFixed(1)} ×`;
  const sum = (pick: (one: Measurement) => number) => found.reduce((total, one) => total + pick(one), 0);
  const never = found.length - (spread?.runs ?? 0);
  const runs = never === 0 ? String(found.length) : `${found.length} (${never} without an end)`;
  const lost = sum((one) => one.reconnects);
  return `| ${[row.title, runs, ...cells, ratio, errorsText(found), lost, sum((one) => one.acknowledged), sum((one) => one.lost)].join(' | ')} |`;
}

function stallsIn(found: readonly Measurement[], { stallOf }: Row): number[] {
  return found.map(stallOf).filter((ms) => ms !== null && !Number.isNaN(ms)) as number[];
}

function eachRun(found: readonly Measurement[], { stallOf }: Row): string {
  return found
    .map(stallOf)
    .map((ms) => (ms === null || Number.isNaN(ms) ? 'no end' : round(ms)))
    .join(', ');
}

/** The most frequent ones by name. */
function errorsText(found: readonly Measurement[]): string {
  const counts = new Map<string, number>();
  for (const { errors } of found)
    for (const [name, count] of Object.entries(errors)) counts.set(name, (counts.get(name) ?? 0) + count);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  if (sorted.length === 0) return 'none';
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  const named = sorted
    .slice(0, 3)
    .map(([name, count]) => `${count} × ${name.replaceAll('|', '/').replaceAll(/\s+/g, ' ')}`);
  return `${total}: ${named.join('; ')}${sorted.length > 3 ? '; …' : ''}`;
}

function phasesText(found: readonly Measurement[]): string {
  const names = Object.keys(found.find(({ observed }) => observed !== null)?.observed?.phases ?? {});
  return names
    .flatMap((name) => {
      const seen = found.flatMap(({ observed }) => observed?.phases[name] ?? []).filter((ms) => Number.isFinite(ms));
      const spread = distributionOf(seen);
      return spread === null
        ? []
        : [`${name.replace(/Ms$/, '')} ${round(spread.median)} ms (at most ${round(spread.most)})`];
    })
    .join(', ');
}

function round(ms: number): string {
  return String(Math.round(ms));
}
