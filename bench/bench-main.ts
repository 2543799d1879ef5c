import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { providePrograms } from '../test/support/programs.ts';
import { environment } from './harness/environment.ts';
import { allCells, chooseCells } from './harness/matrix.ts';
import { measure } from './harness/measure.ts';
import { fetchPeers, type Peers } from './harness/peers/fetch.ts';
import { plotsOf } from './harness/plots.ts';
import { type Run, toJson } from './harness/results.ts';
import { POOL_SIZE, setStage } from './harness/sides.ts';
import { toMarkdown } from './harness/table.ts';

/**
 * `npm run bench`: Leasehold beside a direct connection and beside PgBouncer, Odyssey, HAProxy and Pgpool-II, in turn within
 * one run. See README.md beside this file.
 */
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    out: { type: 'string', default: 'bench' },
    list: { type: 'boolean', default: false },
  },
});
const ROOT = resolve(import.meta.dirname, '..');
const SCALE = 10;
/** By `performance.now()`, which is 0 when the process begins: what comes after it is a report and the end of what was started. */
const QUICK_MS = 280_000;
const quick = values.quick;
const rounds = Number(values.rounds ?? 5);
const seconds = Number(values.seconds ?? (quick ? 2 : 5));
const stop = new AbortController();
const cells = chooseCells(allCells(), quick, values.only ?? null);
if (values.list) for (const { id, sides } of cells) say(`${id}: ${sides.join(' ')}`);
else await main();

async function main(): Promise<void> {
  const startedMs = performance.now();
  const missing = await providePrograms(say);
  if (missing !== null) throw new Error(missing);
  const wanted = new Set(cells.flatMap(({ sides }) => sides));
  const mostPgpool = Math.max(
    1,
    ...cells.flatMap(({ sides, clients }) => (sides.includes('pgpool') ? [clients + 4] : [])),
  );
  // What was started is ended whatever happens: a signal only makes that come sooner.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)));
  const stage = await setStage(wanted, await peersOrWhyNot(), { scale: SCALE, mostPgpool, report: say });
  try {
    const untilMs = quick ? QUICK_MS : Number.POSITIVE_INFINITY;
    const how = { rounds, seconds, scale: SCALE, untilMs, report: say, signal: stop.signal };
    const { results, commands } = await measure(cells, stage, how);
    const versions = [...stage.sides.values()].flatMap(({ name, version }) =>
      version === '' || name.startsWith('leasehold-') ? [] : [[name, version] as const],
    );
    const { processor, cores, memoryGiB, system, node, commit } = environment(ROOT);
    const run: Run = {
      startedAt: new Date().toISOString().slice(0, 16).replace('T', ' '),
      command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
      rounds,
      seconds,
      facts: [
        ['machine', `${processor}, ${cores} cores, ${memoryGiB} GiB, ${system}`],
        ['commit', commit],
        ['Node', node],
        ['PostgreSQL', `${stage.postgres}, three servers on the machine; pgbench scale ${SCALE}`],
        ...versions,
        [
          'pools',
          `${POOL_SIZE} connections to a server, transaction pooling, one process each; log-in by SCRAM-SHA-256`,
        ],
      ],
      commands,
      results,
    };
    const folder = resolve(ROOT, values.out);
    mkdirSync(join(folder, 'plots'), { recursive: true });
    const plots = plotsOf(results);
    for (const [name, svg] of plots) writeFileSync(join(folder, 'plots', name), svg);
    writeFileSync(
      join(folder, 'RESULTS.md'),
      toMarkdown(
        run,
        plots.map(([name]) => `plots/${name}`),
      ),
    );
    writeFileSync(join(folder, 'results.json'), toJson(run));
    say(`${join(folder, 'RESULTS.md')}, after ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  } finally {
    await stage.stop();
  }
}

async function peersOrWhyNot(): Promise<Peers | string> {
  try {
    return await fetchPeers(say);
  } catch (error) {
    return (error as Error).message;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
