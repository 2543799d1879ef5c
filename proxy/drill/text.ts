import type { DrillPlan, DrillReport, GuardResult, Prediction } from './types.ts';

/** A plan for a terminal: what would be done, what is expected, what speaks against it. */
export function planText(plan: DrillPlan): string {
  const lines = [
    `drill ${plan.kind}: ${plan.does}`,
    `expected: ${plan.expects}`,
    `candidate: ${plan.candidate ?? 'nobody new: the leader stays, or leads again'}`,
    `expected stall of writes: ${predictionText(plan.predicted)}`,
    'guards:',
  ];
  const width = Math.max(...plan.guards.map((guard) => guard.name.length));
  for (const { name, passed, overridden, overridable, message } of plan.guards) {
    const mark = passed ? 'ok      ' : overridden ? 'OVERRULED' : 'REFUSES ';
    const way = passed || overridden ? '' : overridable ? `  (--override ${name})` : '  (cannot be overridden)';
    lines.push(`  ${mark} ${name.padEnd(width)}  ${message}${way}`);
  }
  lines.push(plan.allowed ? 'it would run' : refusedBy(plan));
  return lines.join('\n');
}

/** One line: what refuses, and why. */
export function refusalText(plan: DrillPlan): string {
  const said = refusing(plan).map((guard) => `${guard.name}: ${guard.message}`);
  return `the drill is refused: ${said.join('; ')}${wayOut(plan)}`;
}

/** The same under a list of guards. */
export function refusedBy(plan: DrillPlan): string {
  const names = refusing(plan).map((guard) => guard.name);
  return `the drill is refused by ${names.join(', ')}${wayOut(plan)}`;
}

function refusing({ guards }: DrillPlan): readonly GuardResult[] {
  return guards.filter((guard) => !guard.passed && !guard.overridden);
}

function wayOut(plan: DrillPlan): string {
  const guards = refusing(plan);
  if (!guards.every((guard) => guard.overridable)) return '';
  return `. To run it all the same: --override ${guards.map((guard) => guard.name).join(',')}`;
}

export function predictionText({ stallMs, worstMs, from }: Prediction): string {
  const worst = worstMs === null || worstMs === stallMs ? '' : `, ${duration(worstMs)} at worst`;
  return stallMs === 0 ? `none (by ${from})` : `about ${duration(stallMs)}${worst} (by ${from})`;
}

/** A report for a terminal. */
export function reportText(report: DrillReport): string {
  const { plan, writes, reads, ownReads, phases, holds } = report;
  const struck = report.checks.length > 0;
  const rows: [string, string][] = [
    ['drill', `${report.kind} ${report.id}, asked for by ${report.by}, run by ${report.proxy}`],
    ['what was done', struck ? plan.does : 'nothing'],
    [
      'leader',
      `${report.leaderBefore ?? 'none'} → ${report.leaderAfter ?? 'none'}, term ${report.termBefore} → ${report.termAfter}`,
    ],
    [
      'writes stood still',
      writes.stallMs === null
        ? 'writes did NOT go on'
        : `${duration(writes.stallMs)} from one acknowledged write to the next, at most${struck ? `; predicted: ${predictionText(plan.predicted)}` : ''}`,
    ],
    ['reads stood still', reads.stallMs === null ? 'reads did NOT go on' : `${duration(reads.stallMs)} at most`],
    ['of that', phaseText(report)],
    ['acknowledged writes', writtenText(report)],
    ['errors of writes', errorText(writes.errors)],
    ['errors of reads', errorText(reads.errors)],
    ['errors of all clients', errorText(report.clientErrors)],
    ['reads of own writes', `${ownReads.done}, ${ownReads.stale} stale, ${ownReads.backwards} backwards`],
    ['held by this proxy', `${holds.served} served, ${holds.refused} refused, ${holds.gone} whose client left`],
    ['connections lost', String(report.reconnects)],
    ['nodes in step', report.inStepMs === null ? 'NOT yet' : `again after ${duration(report.inStepMs)}`],
  ];
  if (!struck) rows.pop();
  if (Object.values(phases).every((ms) => ms === null)) rows.splice(5, 1);
  if (writes.unknownFound > 0) rows.push(['unknown outcomes', `${writes.unknownFound} of them were done`]);
  if (writes.refusedFound > 0) rows.push(['refused but there', `${writes.refusedFound}: this must not be`]);
  if (report.worstLagBytes !== null) rows.push(['replay was behind', `${report.worstLagBytes} bytes at most`]);
  if (report.problem !== null) rows.push(['problem', report.problem]);
  const width = Math.max(...rows.map(([title]) => title.length));
  return [...rows.map(([title, text]) => `${title.padEnd(width)}  ${text}`), '', verdictText(report)].join('\n');
}

export function verdictText({ outcome, checks }: DrillReport): string {
  const failed = checks.filter((check) => !check.passed).map((check) => check.text);
  if (outcome === 'failed') return `the drill FAILED${failed.length === 0 ? '' : `: ${failed.join('; ')}`}`;
  if (outcome === 'aborted' && checks.length === 0) return 'the drill was aborted before anything was done';
  const said = checks.map((check) => check.text).join('; ');
  return outcome === 'aborted' ? `the drill was aborted; ${said}` : `the drill passed: ${said}`;
}

export function writtenText({ writes }: DrillReport): string {
  if (!writes.checked) return `${writes.done}; they could NOT be looked up`;
  return `${writes.done}, looked up one by one: ${writes.missing === 0 ? 'all there' : `${writes.missing} MISSING`}`;
}

/** The phases that were seen, in order. */
export function phaseRows({ phases }: DrillReport): readonly (readonly [string, number])[] {
  const rows: readonly (readonly [string, number | null])[] = [
    ['detection', phases.detectionMs],
    ['fence', phases.fenceMs],
    ['election', phases.electionMs],
    ['promotion', phases.promotionMs],
    ['opening', phases.openingMs],
    ['first write', phases.firstWriteMs],
  ];
  return rows.filter((row): row is readonly [string, number] => row[1] !== null);
}

function phaseText(report: DrillReport): string {
  return phaseRows(report)
    .map(([name, ms]) => `${name} ${duration(ms)}`)
    .join(', ');
}

export function errorText(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([code, count]) => `${code} × ${count}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

/** `850` to `850 ms`, `12500` to `12.5 s`. */
export function duration(ms: number): string {
  if (ms === 0) return '0 ms';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
