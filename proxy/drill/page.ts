import { duration, errorText, phaseRows, predictionText, verdictText, writtenText } from './text.ts';
import type { DrillReport } from './types.ts';

const WIDTH = 960;
const LEFT = 60;
const LANE = 90;
const COLOURS = ['#7a5195', '#bc5090', '#ef5675', '#ff764a', '#ffa600', '#2f9e44'];

/** A report as one page that needs nothing else: no script, no font, no picture from elsewhere. */
export function reportPage(report: DrillReport): string {
  const { plan } = report;
  const title = `Drill ${report.kind} of cluster ${report.cluster}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${text(title)}</title><style>${STYLE}</style></head><body><main>
<h1>${text(title)}</h1>
<p class="verdict ${report.outcome}">${text(verdictText(report))}</p>
<p>${text(`${report.id}, ${report.startedAt} to ${report.endedAt}; asked for by ${report.by}, run by ${report.proxy}.`)}
It ${text(plan.does)}. Expected: ${text(plan.expects)}.</p>
${report.problem === null ? '' : `<p class="failed">${text(report.problem)}</p>`}
${picture(report)}
<div class="tables">${table('Measured', measured(report))}${table('Time until the first write', phases(report))}</div>
<h2>Checks</h2><ul class="checks">${report.checks.map((check) => `<li class="${check.passed ? 'passed' : 'failed'}">${text(check.text)}</li>`).join('')}</ul>
<h2>What happened</h2><table><thead><tr><th>after</th><th>what</th></tr></thead><tbody>${report.timeline
    .map((one) => `<tr><td class="n">${text(signed(one.atMs))}</td><td>${text(one.text)}</td></tr>`)
    .join('')}</tbody></table>
<h2>Guards</h2><table><tbody>${plan.guards
    .map((guard) => {
      const mark = guard.passed ? 'ok' : guard.overridden ? 'overruled' : 'refused';
      return `<tr><td>${text(guard.name)}</td><td>${mark}</td><td>${text(guard.message)}</td></tr>`;
    })
    .join('')}</tbody></table>
</main></body></html>
`;
}

function measured(report: DrillReport): [string, string][] {
  const { writes, reads, ownReads, holds, plan } = report;
  return [
    ['leader', `${report.leaderBefore ?? 'none'} → ${report.leaderAfter ?? 'none'}`],
    ['term', `${report.termBefore} → ${report.termAfter}`],
    ['longest stall of writes', writes.stallMs === null ? 'did not go on' : duration(writes.stallMs)],
    ['predicted', predictionText(plan.predicted)],
    ['longest stall of reads', reads.stallMs === null ? 'did not go on' : duration(reads.stallMs)],
    ['acknowledged writes', writtenText(report)],
    ['errors of writes', errorText(writes.errors)],
    ['errors of reads', errorText(reads.errors)],
    ['errors of all clients', errorText(report.clientErrors)],
    ['reads of own writes', `${ownReads.done}, ${ownReads.stale} stale, ${ownReads.backwards} backwards`],
    ['held by this proxy', `${holds.served} served, ${holds.refused} refused, ${holds.gone} left`],
    ['connections lost', String(report.reconnects)],
    ['nodes in step again', report.inStepMs === null ? 'not yet' : `after ${duration(report.inStepMs)}`],
  ];
}

function phases(report: DrillReport): [string, string][] {
  const rows = phaseRows(report).map(([name, ms]): [string, string] => [name, duration(ms)]);
  return rows.length === 0 ? [['', 'the leader did not change']] : rows;
}

/** Writes above, reads below, one bar a bin; failures in red; the phases as coloured bands; sightings as lines. */
function picture(report: DrillReport): string {
  const { series } = report;
  const bins = series.writes.length;
  const spanMs = bins * series.binMs;
  const x = (ms: number) => LEFT + ((ms - series.fromMs) / spanMs) * (WIDTH - LEFT - 10);
  const barWidth = Math.max(0.8, (WIDTH - LEFT - 10) / bins - 0.3);
  const lane = (counts: readonly number[], bottom: number, colour: string, tall = LANE - 14) => {
    const most = Math.max(1, ...counts);
    return counts
      .map((n, i) => {
        if (n === 0) return '';
        const height = Math.max(1, (n / most) * tall);
        return `<rect x="${fixed(x(series.fromMs + i * series.binMs))}" y="${fixed(bottom - height)}" width="${fixed(barWidth)}" height="${fixed(height)}" fill="${colour}"/>`;
      })
      .join('');
  };
  const top = 30;
  const bottom = top + 2 * LANE + 26;
  const parts = [
    bands(report, x, top, bottom),
    lane(series.writes, top + LANE, '#1c7ed6'),
    lane(series.reads, top + 2 * LANE, '#2f9e44'),
    lane(series.failed, bottom, '#e03131', 18),
    label('writes', top + LANE),
    label('reads', top + 2 * LANE),
    label('errors', bottom),
    axis(series.fromMs, spanMs, x, bottom),
    report.timeline
      .filter((one) => one.type !== 'state' && one.type !== 'gone')
      .map(
        (one) =>
          `<line x1="${fixed(x(one.atMs))}" x2="${fixed(x(one.atMs))}" y1="${top - 6}" y2="${bottom}" class="${one.type}"><title>${text(`${signed(one.atMs)} ${one.text}`)}</title></line>`,
      )
      .join(''),
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${bottom + 34}" role="img" aria-label="writes, reads and errors over time">${parts.join('')}</svg>`;
}

function bands(report: DrillReport, x: (ms: number) => number, top: number, bottom: number): string {
  let at = report.timeline.find((one) => one.type === 'struck')?.atMs ?? 0;
  let legend = LEFT;
  return phaseRows(report)
    .map(([name, ms], index) => {
      const colour = COLOURS[index % COLOURS.length];
      const from = x(at);
      const width = Math.max(1, x(at + ms) - from);
      at += ms;
      const said = `${name} ${duration(ms)}`;
      const key = `<rect x="${legend}" y="4" width="10" height="10" fill="${colour}"/><text x="${legend + 14}" y="13">${text(said)}</text>`;
      legend += 30 + said.length * 6.4;
      return `<rect x="${fixed(from)}" y="${top - 6}" width="${fixed(width)}" height="${bottom - top + 6}" fill="${colour}" opacity="0.22"><title>${text(said)}</title></rect>${key}`;
    })
    .join('');
}

function axis(fromMs: number, spanMs: number, x: (ms: number) => number, y: number): string {
  const step = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000].find((one) => spanMs / one <= 12) ?? 120_000;
  const ticks: string[] = [];
  for (let ms = Math.ceil(fromMs / step) * step; ms <= fromMs + spanMs; ms += step) {
    const at = fixed(x(ms));
    ticks.push(
      `<line x1="${at}" x2="${at}" y1="${y}" y2="${y + 5}" class="tick"/><text x="${at}" y="${y + 18}" text-anchor="middle">${ms / 1000} s</text>`,
    );
  }
  return ticks.join('');
}

function label(name: string, bottom: number): string {
  return `<text x="4" y="${bottom - 6}">${name}</text><line x1="${LEFT}" x2="${WIDTH - 10}" y1="${bottom}" y2="${bottom}" class="tick"/>`;
}

function table(title: string, rows: readonly (readonly [string, string])[]): string {
  const body = rows
    .map(([name, value]) => `<tr><th scope="row">${text(name)}</th><td>${text(value)}</td></tr>`)
    .join('');
  return `<section><h2>${text(title)}</h2><table><tbody>${body}</tbody></table></section>`;
}

function signed(ms: number): string {
  return ms < 0 ? `−${duration(-ms)}` : duration(ms);
}

function fixed(value: number): string {
  return value.toFixed(1);
}

/** For element content and attributes in double quotes. */
function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const STYLE = `
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:#212529;background:#f8f9fa}
main{max-width:60rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:1.5rem 0 .4rem}
.verdict{font-weight:600;padding:.6rem .9rem;border-radius:.4rem;border-left:.4rem solid}
p.passed{background:#ebfbee;border-color:#2f9e44}p.failed{background:#fff5f5;border-color:#e03131}p.aborted{background:#fff9db;border-color:#f08c00}
svg{width:100%;height:auto;background:#fff;border:1px solid #dee2e6;border-radius:.4rem;margin:.5rem 0}
svg text{font:11px system-ui,sans-serif;fill:#495057}
svg line{stroke:#868e96;stroke-dasharray:3 3}svg line.tick{stroke:#ced4da;stroke-dasharray:none}
svg line.struck{stroke:#e03131;stroke-width:2;stroke-dasharray:none}svg line.lifted,svg line.open{stroke:#2f9e44;stroke-width:2;stroke-dasharray:none}
.tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:0 2rem}
table{border-collapse:collapse;width:100%;background:#fff}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #e9ecef}
th{font-weight:500;color:#495057}td.n{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums;width:6rem}
.checks{list-style:none;padding:0}.checks li::before{content:"✓ ";color:#2f9e44}.checks li.failed::before{content:"✗ ";color:#e03131}
@media (prefers-color-scheme:dark){body{background:#16181b;color:#e9ecef}svg,table{background:#212529;border-color:#373b3e}
svg text{fill:#ced4da}th{color:#ced4da}th,td{border-color:#343a40}p.passed{background:#14301c}p.failed{background:#3b1719}p.aborted{background:#3a2f0b}}
`;
