import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { parseArgs } from 'node:util';
import { providePrograms } from '../test/support/programs.ts';
import { startLeasehold } from './failover/leasehold-side.ts';
import { measure, type Measurement } from './failover/measure.ts';
import { AGGRESSIVE, DEFAULT } from './failover/patroni/config.ts';
import { providePatroni } from './failover/patroni/programs.ts';
import { startPatroni } from './failover/patroni/side.ts';
import { prepareLoad } from './failover/pgbench-load.ts';
import { renderReport } from './failover/report.ts';
import { SCENARIOS, type Scenario, scheduleOf } from './failover/schedule.ts';
import type { Side } from './failover/side.ts';
import { prepareAppends } from './failover/writer.ts';

/**
 * How long writes stand still when the leader is lost or changed, as an application sees it, beside Patroni in the same run:
 *
 *     npm run bench:failover -- [--runs 20] [--switchovers N] [--only crash,host,switchover] [--peers patroni]
 *                               [--peer-runs 5] [--minutes M] [--out FILE.md] [--json FILE]
 *
 * The defaults with Patroni take about 25 minutes; ours alone 7. Exits with 1 when an acknowledged write was lost, or a client of ours saw an error in a switchover.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    switchovers: { type: 'string' },
    only: { type: 'string', default: SCENARIOS.join(',') },
    peers: { type: 'string', default: '' },
    'peer-runs': { type: 'string', default: '5' },
    /** After this many no further run begins. */
    minutes: { type: 'string', default: '45' },
    out: { type: 'string' },
    json: { type: 'string' },
  },
});

const runs = positive('runs', values.runs);
const switchovers = positive('switchovers', values.switchovers ?? values.runs);
const peerRuns = positive('peer-runs', values['peer-runs']);
const endMs = performance.now() + positive('minutes', values.minutes) * 60_000;
const scenarios = values.only.split(',').map(scenarioOf);
if (!['', 'patroni'].includes(values.peers)) usage(`--peers ${values.peers}: only patroni is known`);

const startedAt = new Date();
const loadBefore = loadText();
const stack = new AsyncDisposableStack();
const measurements: Measurement[] = [];
let interrupted = false;
let starting: Promise<readonly Side[]> = Promise.resolve([]);
let versions = '';
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void endEarly());
try {
  await main();
} catch (error) {
  if (!interrupted) process.stderr.write(`bench:failover: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
if (interrupted) await new Promise(() => undefined); // endEarly ends the process
await stack.disposeAsync();

async function main(): Promise<void> {
  const missing = await providePrograms((line) => {
    versions = line;
    say(line);
  });
  if (missing !== null) throw new Error(missing);
  starting = startSides();
  const sides = await starting;
  const schedule = scheduleOf({
    scenarios,
    runs: (scenario) => (scenario === 'switchover' ? switchovers : runs),
    peers: sides.length - 1,
    peerRuns,
  });
  for (const [index, turn] of schedule.entries()) {
    if (performance.now() > endMs) {
      say(`the time is over: ${schedule.length - index} runs were left out`);
      break;
    }
    const found = await measure(sides[turn.side] as Side, turn.scenario, turn.run);
    if (interrupted) return;
    measurements.push(found);
    sayMeasurement(found, `${index + 1}/${schedule.length}`);
    writeReport(sides); // a run that is interrupted leaves what it has
  }
  say(`\n${writeReport(sides)}`);
  judge(sides[0]?.name ?? '');
}

/** What is just being started is waited for, so that nothing is left running; a second signal does not wait. */
async function endEarly(): Promise<void> {
  interrupted = true;
  say('interrupted: stops what it started …');
  await Promise.allSettled([starting]);
  await stack.disposeAsync().catch(() => undefined);
  process.exit(130);
}

async function startSides(): Promise<Side[]> {
  const started: Side[] = [];
  const add = async (start: Promise<Side>): Promise<void> => {
    const side = stack.use(await start);
    if (interrupted) throw new Error('interrupted');
    say(`${side.name}: ${side.about}`);
    await prepareAppends(side.port);
    if (scenarios.includes('switchover')) await prepareLoad(side.port);
    started.push(side);
  };
  await add(startLeasehold());
  if (values.peers === 'patroni') {
    const programs = await providePatroni(say);
    for (const mode of [DEFAULT, AGGRESSIVE]) await add(startPatroni(mode, programs));
  }
  return started;
}

/** Returns it as text. */
function writeReport(sides: readonly Side[]): string {
  const report = {
    command: `npm run bench:failover -- ${process.argv.slice(2).join(' ')}`.trim(),
    startedAt: `${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    minutes: Math.round((Date.now() - startedAt.getTime()) / 60_000),
    machine: machine(),
    versions: `Node ${process.version}, ${versions.replaceAll(/ \(\/\S+\)| in \/\S+(?=,)/g, '')}`,
    load: `${loadBefore} before, ${loadText()} after`,
    sides: sides.map(({ name, about }) => ({ name, about })),
    measurements,
  };
  const text = renderReport(report);
  if (values.out !== undefined) writeFileSync(values.out, text);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
  return text;
}

/** What must never be, of ours. */
function judge(ours: string): void {
  const own = measurements.filter(({ side }) => side === ours);
  const lost = own.reduce((sum, one) => sum + one.lost, 0);
  const failed = own.filter(({ stallMs }) => stallMs === null).length;
  const planned = own.filter(({ scenario }) => scenario === 'switchover');
  const withErrors = planned.filter(({ errors, reconnects }) => Object.keys(errors).length + reconnects > 0).length;
  if (lost > 0) say(`FAILED: ${lost} acknowledged writes are lost`);
  if (withErrors > 0) say(`FAILED: clients saw errors in ${withErrors} of ${planned.length} planned switchovers`);
  if (failed > 0) say(`FAILED: writes did not go on, or something else went wrong, in ${failed} runs of ours`);
  process.exitCode = lost + withErrors + failed > 0 ? 1 : 0;
}

function sayMeasurement(found: Measurement, number: string): void {
  const { side, scenario, run, stallMs, stallOfAllMs, errors, reconnects, lost, acknowledged, observed } = found;
  const parts = [
    stallMs === null ? 'no end' : `${Math.round(stallMs)} ms`,
    ...(stallOfAllMs === null ? [] : [`${Math.round(stallOfAllMs)} ms for all`]),
    `${acknowledged} acknowledged`,
    ...(lost === 0 ? [] : [`${lost} LOST`]),
    ...(reconnects === 0 ? [] : [`${reconnects} reconnects`]),
    ...Object.entries(errors).map(([name, count]) => `${count} × ${name}`),
    ...(observed === null
      ? []
      : [
          Object.entries(observed.phases)
            .map(([name, ms]) => `${name} ${ms === null ? '–' : Math.round(ms)}`)
            .join(' '),
        ]),
  ];
  say(`${number} ${scenario} ${run} ${side}: ${parts.join(', ')}`);
}

function scenarioOf(name: string): Scenario {
  return SCENARIOS.find((one) => one === name.trim()) ?? usage(`--only ${name}: not one of ${SCENARIOS.join(', ')}`);
}

function positive(name: string, text: string): number {
  const number = Number(text);
  return Number.isInteger(number) && number > 0 ? number : usage(`--${name} ${text}: not a whole number above 0`);
}

function usage(text: string): never {
  process.stderr.write(`bench:failover: ${text}\n`);
  process.exit(2);
}

function machine(): string {
  const all = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${all.length} × ${all[0]?.model.trim() ?? 'unknown'}, ${memory} GiB, ${type()} ${release()}`;
}

/** The system's own word, as far as it has one. */
function loadText(): string {
  try {
    return readFileSync('/proc/loadavg', 'latin1').split(' ').slice(0, 3).join(' ');
  } catch {
    return loadavg()
      .map((one) => one.toFixed(2))
      .join(' ');
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
