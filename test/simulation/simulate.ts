import { parseArgs } from 'node:util';
import { Coverage } from './coverage.ts';
import { runSeed } from './world.ts';

/**
 * `npm run simulate -- --seeds N --start S [--trace LINES] [--verbose] [--coverage]`: runs seeds S … S+N−1, prints every failure
 * with its trace, and with `--coverage` which cells of the table and which transitions they went through. Exit code 1 if any failed.
 */
function main(): void {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      start: { type: 'string', default: '1' },
      trace: { type: 'string', default: '150' },
      verbose: { type: 'boolean', default: false },
      coverage: { type: 'boolean', default: false },
    },
  });
  const start = Number(values.start);
  const coverage = new Coverage();
  const planted = values.coverage ? { step: coverage.wrap } : {};
  const begun = performance.now();
  const failed: number[] = [];
  let terms = 0;
  let acknowledged = 0;
  let forced = 0;
  for (let seed = start; seed < start + Number(values.seeds); seed++) {
    const result = runSeed(seed, { traceLines: Number(values.trace), planted, onFault: coverage.fault });
    terms += result.terms;
    acknowledged += result.acknowledged;
    forced += result.forced;
    if (result.violation !== null) {
      failed.push(seed);
      console.log(`${result.trace}\nseed ${seed}: ${result.violation.stack ?? result.violation.message}\n`);
    } else if (values.verbose) {
      console.log(
        `seed ${seed}: ${result.terms} terms, ${result.acknowledged} writes, ${result.hash}\n${result.trace}`,
      );
    }
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(
    `${values.seeds} seeds, ${terms} terms (${forced} forced), ${acknowledged} acknowledged writes, ${seconds} s`,
  );
  if (values.coverage) console.log(coverage.report());
  console.log(failed.length === 0 ? 'no invariant broken' : `broken with seeds ${failed.join(' ')}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

main();
