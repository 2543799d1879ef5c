import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { initialisePgbench } from '../test/support/pgbench.ts';
import { startLocalCluster } from '../test/support/local-cluster.ts';
import { providePrograms } from '../test/support/programs.ts';
import { createAuthority } from '../test/support/certificates.ts';
import { startLeasehold } from './harness/leasehold.ts';
import { allCells, chooseCells } from './harness/matrix.ts';
import { runPgbench } from './harness/pgbench-run.ts';
import { type CpuProfile, summarise } from './harness/profile-summary.ts';

/**
 * Where the proxy's time goes: runs cells of the benchmark's matrix through a proxy under `node --cpu-prof`, and prints the
 * functions that took most. The profile itself stays, for a flame graph.
 *
 *     node ops/launch.mjs --run bench/profile-main.ts [--only =read-simple-64] [--level strong] [--seconds 5]
 */
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '=read-simple-64' },
    level: { type: 'string', default: 'strong' },
    seconds: { type: 'string', default: '5' },
    top: { type: 'string', default: '45' },
    by: { type: 'string', default: 'self' },
  },
});
const SCALE = 10;
const missing = await providePrograms(say);
if (missing !== null) throw new Error(missing);
const cells = chooseCells(allCells(), false, values.only);
const cluster = await startLocalCluster();
const authority = createAuthority();
try {
  await initialisePgbench(cluster.port, SCALE);
  const { certFile, keyFile } = authority.issue('localhost');
  for (const cell of cells) {
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-profile-'));
    const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${folder}`];
    const proxy = await startLeasehold(cluster, { poolSize: 20, maxClients: 2000, certFile, keyFile, nodeFlags });
    const env = { PGOPTIONS: `-c leasehold.consistency=${values.level}` };
    const side = { name: 'leasehold', port: proxy.port, pid: proxy.pid, version: '', env } as const;
    try {
      const { perSecond, cpuUs } = await runPgbench(cell, side, Number(values.seconds), SCALE);
      say(
        `${cell.id}: ${perSecond.toFixed(0)} a second, ${cpuUs?.toFixed(1)} µs each (the profiler's own time included)`,
      );
    } finally {
      await proxy.stop();
    }
    for (const name of readdirSync(folder)) print(join(folder, name));
  }
} finally {
  authority.remove();
  await cluster.stop();
}

function print(file: string): void {
  const { busyMs, functions } = summarise(JSON.parse(readFileSync(file, 'utf8')) as CpuProfile);
  say(`${file}: ${busyMs.toFixed(0)} ms busy\n  self %  total %`);
  const key = values.by === 'total' ? 'totalMs' : 'selfMs';
  const shown = functions.toSorted((a, b) => b[key] - a[key]).slice(0, Number(values.top));
  const share = (ms: number): string => ((100 * ms) / busyMs).toFixed(1).padStart(6);
  for (const { name, selfMs, totalMs } of shown) say(`  ${share(selfMs)}  ${share(totalMs)}   ${name}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
