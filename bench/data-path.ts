import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { parse, stringify } from 'yaml';
import { providePrograms } from '../test/support/programs.ts';
import { type LocalCluster, startLocalCluster } from '../test/support/local-cluster.ts';
import { initialisePgbench, pgbench } from '../test/support/pgbench.ts';
import { freePorts } from '../test/support/ports.ts';

/**
 * What the data path costs: transactions a second, and processor time of the proxy for each, beside a direct connection to
 * the leader, in turn within one run. `--against FOLDER`: beside the proxy of another checkout, too, so that a change of
 * the data path can be judged on a noisy machine.
 *
 *     node ops/launch.mjs --run bench/data-path.ts [--against FOLDER] [--rounds 5] [--seconds 4] [--clients 16]
 */
const { values } = parseArgs({
  options: {
    against: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    clients: { type: 'string', default: '16' },
  },
});
const ROOT = resolve(import.meta.dirname, '..');
const MODES = [
  ['read, simple', ['-S', '-M', 'simple']],
  ['read, prepared', ['-S', '-M', 'prepared']],
  ['TPC-B-like', ['-M', 'simple', '--max-tries=10']],
] as const;

interface Side {
  readonly name: string;
  readonly port: number;
  /** Of the proxy; null for a direct connection. */
  readonly pid: number | null;
}

interface Figures {
  readonly perSecond: number;
  /** Processor time of the proxy for a transaction, µs. */
  readonly cpuMicroseconds: number;
}

const missing = await providePrograms(say);
if (missing !== null) throw new Error(missing);
const cluster = await startLocalCluster();
const children: ChildProcess[] = [];
try {
  await initialisePgbench(cluster.port, 10);
  const leader = await cluster.leader();
  const sides: Side[] = [{ name: 'direct', port: Number(leader.address.split(':')[1]), pid: null }];
  sides.push(await startProxy(cluster, 'bench', ROOT));
  if (values.against !== undefined) sides.push(await startProxy(cluster, 'bench-against', resolve(values.against)));
  say(`node ${process.version}, ${values.clients} clients, ${values.rounds} rounds of ${values.seconds} s, in turn`);
  for (const [mode, args] of MODES) await compare(mode, args, sides);
} finally {
  for (const child of children) child.kill('SIGTERM');
  await cluster.stop();
}

async function compare(mode: string, args: readonly string[], sides: readonly Side[]): Promise<void> {
  const seen = sides.map((): Figures[] => []);
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    for (const [index, side] of sides.entries()) {
      const figures = await measure(side, args);
      if (round > 0) seen[index]?.push(figures); // the first round warms up
    }
  }
  say(`\n${mode}`);
  for (const [index, side] of sides.entries()) {
    const rows = seen[index] ?? [];
    const perSecond = spread(rows.map((row) => row.perSecond));
    const cpu = side.pid === null ? '' : `   proxy ${spread(rows.map((row) => row.cpuMicroseconds))} µs each`;
    say(`  ${side.name.padEnd(14)} ${perSecond} a second${cpu}`);
  }
}

async function measure(side: Side, args: readonly string[]): Promise<Figures> {
  const before = side.pid === null ? 0 : processorMs(side.pid);
  const { code, processed, output } = await pgbench(side.port, [
    ...args,
    '-c',
    values.clients,
    '-T',
    values.seconds,
    '-n',
  ]);
  if (code !== 0) throw new Error(output);
  const usedMs = side.pid === null ? 0 : processorMs(side.pid) - before;
  return { perSecond: processed / Number(values.seconds), cpuMicroseconds: (usedMs * 1000) / processed };
}

/** A proxy of the cluster beside its own, from the given checkout. */
async function startProxy(of: LocalCluster, id: string, root: string): Promise<Side> {
  const [port, httpPort] = (await freePorts(2)) as [number, number];
  const config = parse(readFileSync(join(of.dir, 'cluster/config/proxy1.yaml'), 'utf8')) as Record<string, object>;
  const file = join(of.dir, `${id}.yaml`);
  writeFileSync(file, stringify({ ...config, proxy: { id, listen: { port }, http: { port: httpPort } } }), {
    mode: 0o600,
  });
  const child = spawn(process.execPath, [join(root, 'ops/cli.ts'), 'proxy', '--config', file], { stdio: 'ignore' });
  children.push(child);
  await of.until(`the proxy ${id} to serve`, async () => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'app', password: 'app', database: 'app' });
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      return false;
    }
  });
  return { name: id, port, pid: child.pid as number };
}

/** User and system time of a process so far. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10; // USER_HZ is 100 on every Linux that Node runs on
}

/** Median, and least and most. */
function spread(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const text = (value: number | undefined): string =>
    (value ?? Number.NaN).toFixed(value !== undefined && value < 1000 ? 1 : 0);
  return `${text(sorted[sorted.length >> 1])} (${text(sorted[0])}–${text(sorted.at(-1))})`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
