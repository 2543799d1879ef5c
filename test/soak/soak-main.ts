import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { Random } from '../simulation/random.ts';
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.ts';
import { providePrograms } from '../support/programs.ts';
import { Ledger } from './ledger.ts';
import { growth, proxyPid, type Sample, sampleProxy, table } from './samples.ts';
import { Worker } from './worker.ts';

/**
 * `npm run soak -- --minutes 30 --clients 200 --seed S [--switchovers MINUTES] [--think MS]`: clients that come, work, fail,
 * cancel and vanish, on a cluster of three. Exit code 1 unless memory and descriptors stay flat, nothing acknowledged is lost, nobody
 * hears what is another's, nothing fails that should not, and no server connection is left in a transaction.
 */
interface Options {
  readonly minutes: number;
  readonly clients: number;
  readonly seed: number;
  readonly switchoverMinutes: number | null;
  readonly thinkMs: number;
}

/** With switchovers: what a change of leader may tell a client (its transaction or its pinned session is gone, its commit unknown). */
const LOST_WITH_LEADER: ReadonlySet<string> = new Set(['40001', '57P01', '57P03', '08007', '08006']);
const STORM_EVERY_MS = 45_000;

async function main(): Promise<void> {
  const options = readOptions();
  await providePrograms((line) => console.log(line));
  const cluster = await startLocalCluster();
  try {
    process.exitCode = (await soak(cluster, options)) ? 0 : 1;
  } finally {
    await cluster.stop();
  }
}

async function soak(cluster: LocalCluster, options: Options): Promise<boolean> {
  await cluster.query('CREATE TABLE soak (client int, serial int, nonce text, PRIMARY KEY (client, serial))');
  const pid = proxyPid(cluster.up.pid as number);
  const ledger = new Ledger();
  const startedMs = performance.now();
  const endMs = startedMs + options.minutes * 60_000;
  const rest = await sampleProxy(pid, cluster.httpPort, 0);
  const running = (): boolean => performance.now() < endMs && ledger.faults < 50;
  const storms = new Storms(running);
  const random = new Random(options.seed);
  const expected = options.switchoverMinutes === null ? new Set<string>() : LOST_WITH_LEADER;
  const context = {
    port: cluster.port,
    ledger,
    expected,
    thinkMs: options.thinkMs,
    running,
    storm: () => storms.next(),
  };
  const workers = Array.from({ length: options.clients }, (_, i) => new Worker(i + 1, random.fork(), context).run());
  const samples: Sample[] = [];
  let nextSwitchoverMs = startedMs + (options.switchoverMinutes ?? Infinity) * 60_000;
  let switchovers = 0;
  while (running()) {
    await sleep(Math.min(5_000, Math.max(100, endMs - performance.now())));
    samples.push(await sampleProxy(pid, cluster.httpPort, performance.now() - startedMs));
    if (samples.length % 12 === 1) console.log(progress(samples.at(-1) as Sample, ledger));
    if (performance.now() > nextSwitchoverMs) {
      nextSwitchoverMs += (options.switchoverMinutes ?? Infinity) * 60_000;
      if ((await cluster.cli('switchover')).status === 0) switchovers += 1;
    }
  }
  storms.end();
  await Promise.all(workers);
  return conclude(cluster, options, { pid, ledger, samples, rest, switchovers });
}

function progress({ atMs, rssMb, fds, clients, servers }: Sample, { connections, requests, faults }: Ledger): string {
  const proxy = `proxy ${rssMb.toFixed(0)} MB, ${fds} descriptors, ${clients} clients, ${servers} server connections`;
  return `${(atMs / 60_000).toFixed(1)} min: ${proxy}; ${connections} connections, ${requests} tasks, ${faults} faults so far`;
}

interface Outcome {
  readonly pid: number;
  readonly ledger: Ledger;
  readonly samples: readonly Sample[];
  /** Before the first client. */
  readonly rest: Sample;
  readonly switchovers: number;
}

async function conclude(cluster: LocalCluster, options: Options, outcome: Outcome): Promise<boolean> {
  const { ledger, samples, rest, pid } = outcome;
  const problems: string[] = [];
  const open = await untilAtRest(cluster);
  if (open.length > 0) problems.push(`server connections left in a transaction: ${open.join('; ')}`);
  const last = await sampleProxy(pid, cluster.httpPort, 0);
  if (last.clients !== rest.clients)
    problems.push(`${last.clients} clients are still counted, ${rest.clients} were before`);
  if (last.otherFds > rest.otherFds + 4)
    problems.push(`${last.otherFds} descriptors beside connections, ${rest.otherFds} before`);
  for (const { name, middle, last: end, flat } of growth(samples)) {
    console.log(
      `${name}: ${middle.toFixed(1)} in the middle third, ${end.toFixed(1)} in the last${flat ? '' : '  GREW'}`,
    );
    if (!flat) problems.push(`${name} grew from ${middle.toFixed(1)} to ${end.toFixed(1)}`);
  }
  const rows = await verify(cluster, ledger);
  if (rows.lost > 0) problems.push(`${rows.lost} acknowledged rows are lost`);
  if (rows.risen > 0) problems.push(`${rows.risen} rows are there that were rolled back`);
  if (ledger.faults > 0)
    problems.push(`${ledger.faults} faults, the first: ${ledger.faultTexts.slice(0, 10).join('\n  ')}`);
  console.log(`\n${table(samples, 20)}\n`);
  console.log(
    `seed ${options.seed}: ${options.clients} clients, ${options.minutes} minutes, ${ledger.connections} connections, ${ledger.requests} tasks, ` +
      `${rows.acknowledged} acknowledged rows (${rows.lost} lost), ${outcome.switchovers} switchovers, ${ledger.expectedErrors} connections ended by them`,
  );
  console.log(
    `term ${(await cluster.status()).term} at the end: 1 and one for each switchover, unless the machine was too busy for the lease`,
  );
  console.log(`descriptors: ${rest.fds} before, ${last.fds} after (${last.servers} server connections)`);
  for (const problem of problems) console.log(`FAILED: ${problem}`);
  if (problems.length === 0) console.log('flat, nothing lost, nobody heard what is another’s');
  return problems.length === 0;
}

async function verify(
  cluster: LocalCluster,
  ledger: Ledger,
): Promise<{ acknowledged: number; lost: number; risen: number }> {
  const client = await cluster.connect();
  try {
    return await ledger.verify(async (id) => {
      const { rows } = await client.query<{ serial: number }>('SELECT serial FROM soak WHERE client = $1', [id]);
      return new Set(rows.map(({ serial }) => serial));
    });
  } finally {
    await client.end();
  }
}

/** Server connections of the application that are in a transaction, asked of each node itself; waits up to 20 s for there to be none. */
async function untilAtRest(cluster: LocalCluster): Promise<string[]> {
  let open: string[] = [];
  for (let tries = 0; tries < 40; tries++) {
    open = [];
    for (const node of (await cluster.status()).nodes) {
      const texts = await openOn(node.address).catch((error: Error) => [error.message]); // it may have led until just now
      open.push(...texts.map((text) => `${node.node}: ${text.slice(0, 200)}`));
    }
    const { clients } = await sampleProxy(proxyPid(cluster.up.pid as number), cluster.httpPort, 0);
    if (open.length === 0 && clients === 0) break;
    await sleep(500);
  }
  return open;
}

async function openOn(address: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: `postgres://app:app@${address}/app` });
  try {
    await client.connect();
    const { rows } = await client.query<{ text: string }>(
      "SELECT state || ' since ' || xact_start || ': ' || query AS text FROM pg_stat_activity WHERE usename = 'app' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()",
    );
    return rows.map(({ text }) => text);
  } finally {
    await client.end();
  }
}

/** Clients that wait here come back all at once. */
class Storms {
  readonly #timer: NodeJS.Timeout;
  #ended = false;
  #wake: () => void = () => undefined;
  #next = new Promise<void>((resolve) => (this.#wake = resolve));

  constructor(running: () => boolean) {
    this.#timer = setInterval(() => {
      this.#blow();
      if (!running()) this.end();
    }, STORM_EVERY_MS);
  }

  next(): Promise<void> {
    return this.#ended ? Promise.resolve() : this.#next;
  }

  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#blow();
  }

  #blow(): void {
    this.#wake();
    this.#next = new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '30' },
      clients: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
      switchovers: { type: 'string' },
      think: { type: 'string', default: '150' },
    },
  });
  return {
    minutes: Number(values.minutes),
    clients: Number(values.clients),
    seed: Number(values.seed),
    switchoverMinutes: values.switchovers === undefined ? null : Number(values.switchovers),
    thinkMs: Number(values.think),
  };
}

await main();
