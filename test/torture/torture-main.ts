import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { providePrograms } from '../support/programs.ts';
import { FAULTS, type FaultName, parseRound } from './plan.ts';
import { printReport } from './report.ts';
import { torture, type TortureOptions } from './run.ts';

/**
 * `npm run torture -- --minutes N --seed S [--only kill-node,isolate-node] [--round 'kill-node leader 9000'] [--report FILE] [--keep]`: real clusters, real
 * clients, faults drawn from the seed, and a checker over what clients were told. Exit code 1 unless everything held. Ctrl-C
 * ends it, and everything that it started.
 */
async function main(): Promise<void> {
  const { options, reportFile } = readOptions();
  const missing = await providePrograms((line) => console.log(line));
  if (missing !== null) throw new Error(missing);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => stop.abort(new Error(`stopped by ${name}`)));
  const report = await torture(options, stop.signal);
  console.log(printReport(report));
  if (reportFile !== null) writeFileSync(reportFile, `${JSON.stringify(report, null, 2)}\n`);
  process.exitCode = report.passed ? 0 : 1;
}

function readOptions(): { options: TortureOptions; reportFile: string | null } {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '2' },
      rounds: { type: 'string' },
      seed: { type: 'string' },
      writers: { type: 'string', default: '8' },
      readers: { type: 'string', default: '6' },
      ttl: { type: 'string', default: '3000' },
      only: { type: 'string' },
      round: { type: 'string' },
      report: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  });
  const only = values.only?.split(',') as FaultName[] | undefined;
  const unknown = (only ?? []).filter((name) => !(name in FAULTS));
  if (unknown.length > 0)
    throw new Error(`no such fault: ${unknown.join(', ')}; there are ${Object.keys(FAULTS).join(', ')}`);
  const options = {
    seed: Number(values.seed ?? Math.floor(Math.random() * 1e6)),
    minutes: Number(values.minutes),
    ...(values.rounds === undefined ? {} : { rounds: Number(values.rounds) }),
    writers: Number(values.writers),
    readers: Number(values.readers),
    ttlMs: Number(values.ttl),
    ...(only === undefined ? {} : { only }),
    ...(values.round === undefined ? {} : { always: parseRound(values.round) }),
    keep: values.keep,
    say: (line: string) => console.log(line),
  };
  console.log(`seed ${options.seed}`);
  return { options, reportFile: values.report ?? null };
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
// Connections to a network that is gone would keep this process for minutes.
process.exit();
