import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseholdError } from '../../common/errors.ts';
import { ApiClient } from '../api-client.ts';
import { EXIT, explain } from '../commands/errors.ts';
import { painter, wantsColor } from '../format/events.ts';
import { formatMs } from '../format/table.ts';
import { postgresUser } from '../setup/os-user.ts';
import { preparePrograms, type Programs } from '../setup/prepare.ts';
import { LocalCluster } from './cluster.ts';
import { type LocalClusterPlan, writeConfigFiles } from './config-files.ts';
import { readyText } from './hints.ts';
import {
  dataMajor,
  knownNodes,
  type Layout,
  leaveFolder,
  openLayout,
  openPorts,
  openSecrets,
  takeFolder,
} from './layout.ts';
import { LogSink } from './log-sink.ts';
import { requireFree } from './ports.ts';
import { waitUntilGone } from './process-table.ts';
import { awaitReady } from './readiness.ts';
import { forgetCluster, rememberCluster } from './registry.ts';
import { StopSignals } from './stop-signals.ts';

export interface UpOptions {
  readonly dir: string;
  /** Null: as many as the folder has, else three. */
  readonly nodes: number | null;
  readonly proxies: number;
  readonly proxyPort: number;
  readonly httpPort: number;
  readonly ephemeral: boolean;
  /** Further settings for its agents and proxies, `path=value`. */
  readonly set: readonly string[];
  /** How the live log is written; null: for people at a terminal, else JSON lines. */
  readonly log: 'pretty' | 'json' | null;
}

/**
 * `leasehold up`: a whole cluster in a folder, until a signal. Returns the exit code. Whatever it started is gone
 * when it returns, and goes by itself should this process be killed.
 */
export async function runUp(options: UpOptions): Promise<number> {
  const startedMs = performance.now();
  // A strict umask would shut PostgreSQL's own user out of its folders; what is secret has its own mode.
  process.umask(0o022);
  // Whoever read our output may have gone: that is no reason to stop serving.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  const paint = painter(wantsColor(process.stdout, process.env));
  const report = (line: string) => print(`${paint('dim', `[${seconds(startedMs)}]`)} ${line}`);
  const stop = new StopSignals();
  const osUser = postgresUser();
  const layout = openLayout(options.ephemeral ? makeEphemeral() : resolve(options.dir), osUser, report);
  const left = takeFolder(layout);
  try {
    refuseForeignSets(options.set);
    const proxies = planProxies(options);
    await requirePorts(proxies, options);
    const nodes = planNodes(options.nodes, knownNodes(layout), layout);
    if (left.length > 0) {
      report(`waiting for ${left.length} processes of an earlier run that was killed …`);
      await waitUntilGone(left, 15_000);
    }
    const major = dataMajor(layout);
    const programs = await preparePrograms({ env: process.env, osUser, major, report, signal: stop.signal });
    report(`PostgreSQL ${programs.postgres.version} (${programs.postgres.binDir}), etcd ${programs.etcd.version}`);
    const avoid = proxies.flatMap(({ port, httpPort }) => [port, httpPort]);
    const ports = await openPorts(layout, nodes, avoid);
    const plan = { nodes, proxies, ports, secrets: openSecrets(layout), postgresBin: programs.postgres.binDir };
    return await serve({ options, layout, plan, programs, stop, report, paint, startedMs });
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw error;
  } finally {
    leaveFolder(layout);
    if (options.ephemeral) removeLayout(layout);
    stop.close();
  }
}

interface ServeContext {
  readonly options: UpOptions;
  readonly layout: Layout;
  readonly plan: LocalClusterPlan;
  readonly programs: Programs;
  readonly stop: StopSignals;
  readonly report: (line: string) => void;
  readonly paint: ReturnType<typeof painter>;
  readonly startedMs: number;
}

/** Starts the processes, waits for a signal, stops them. The exit code. */
async function serve(context: ServeContext): Promise<number> {
  const { options, layout, plan, programs, stop, report } = context;
  const style = options.log ?? (process.stdout.isTTY ? 'pretty' : 'json');
  const color = wantsColor(process.stdout, process.env);
  const sink = new LogSink({ dir: layout.logDir, style, color, write: print });
  const failed = new AbortController();
  const onFailing = (name: string, how: string) => {
    const lines = sink.recent(name).map((line) => `\n    ${line}`);
    failed.abort(new LeaseholdError('START', `${name} does not start (${how}). Its last words:${lines.join('')}`));
  };
  const configFiles = writeConfigFiles(layout, plan);
  const sets = options.set;
  const cluster = new LocalCluster({ layout, plan, configFiles, programs, sink, sets, onFailing });
  const api = new ApiClient({ url: `http://127.0.0.1:${options.httpPort}`, token: null, timeoutMs: 2000 });
  let exitCode = 0;
  try {
    rememberCluster(options.httpPort, layout.dir);
    await start(context, cluster, api, AbortSignal.any([stop.signal, failed.signal]));
    sink.setLive(true);
    await stop.requested;
  } catch (error) {
    if (!stop.signal.aborted) {
      exitCode = EXIT.failed;
      // An aborted wait only says that it was aborted; the reason is the signal's.
      process.stderr.write(`${explain(failed.signal.aborted ? failed.signal.reason : error).text}\n`);
    }
  }
  const leader = await currentLeader(api);
  sink.setLive(false);
  await cluster.stop(leader, stop.hurry, report);
  await sink.close();
  forgetCluster(options.httpPort, layout.dir);
  report(`stopped; nothing is left running${options.ephemeral ? ', the folder is removed' : ''}`);
  return exitCode;
}

/** Throws when `signal` aborts, with its reason. */
async function start(context: ServeContext, cluster: LocalCluster, api: ApiClient, signal: AbortSignal): Promise<void> {
  const { plan, layout, programs, report, paint, startedMs } = context;
  report('etcd …');
  await cluster.startEtcd(signal);
  report(`${[...plan.nodes, ...plan.proxies.map(({ id }) => id)].join(', ')} …`);
  cluster.startAgents();
  cluster.startProxies();
  const readiness = await awaitReady({ api, nodes: plan.nodes, report, signal });
  const status = await api.status(signal);
  if (readiness !== 'all') report('not every follower is there yet; "leasehold status" shows where they are');
  report(`started in ${formatMs(performance.now() - startedMs)}; data and logs in ${layout.dir}`);
  for (const line of readyText({ proxies: plan.proxies, status, layout, programs, paint })) print(line);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Faults in the values themselves are told by the process that reads them. */
function refuseForeignSets(sets: readonly string[]): void {
  for (const set of sets) {
    if (!/^(cluster|agent|proxy|drills)\.[^=]+=/.test(set)) {
      throw new LeaseholdError('USAGE', `--set ${set}: must be cluster.…=…, agent.…=…, proxy.…=… or drills.…=…`);
    }
  }
}

function planProxies(options: UpOptions): { id: string; port: number; httpPort: number }[] {
  return Array.from({ length: options.proxies }, (_, index) => ({
    id: `proxy${index + 1}`,
    port: options.proxyPort + index,
    httpPort: options.httpPort + index,
  }));
}

async function requirePorts(
  proxies: readonly { id: string; port: number; httpPort: number }[],
  options: UpOptions,
): Promise<void> {
  const all = proxies.flatMap(({ port, httpPort }) => [port, httpPort]);
  if (new Set(all).size < all.length) {
    throw new LeaseholdError(
      'PORT',
      `--proxy-port ${options.proxyPort} and --http-port ${options.httpPort} overlap with ${options.proxies} proxies`,
    );
  }
  for (const { id, port, httpPort } of proxies) {
    await requireFree(port, `PostgreSQL clients of ${id}`, '--proxy-port');
    await requireFree(httpPort, `HTTP of ${id}`, '--http-port');
  }
}

/** The nodes of this folder. Fewer than it holds would leave out some that commits may be on. */
function planNodes(wanted: number | null, known: readonly string[], layout: Layout): string[] {
  const numbers = known.map((name) => Number(name.slice(4)));
  const count = Math.max(wanted ?? 3, wanted === null ? Math.max(0, ...numbers) : 0);
  if (numbers.some((number) => number > count)) {
    throw new LeaseholdError(
      'NODES',
      `${layout.dir} holds ${known.length} nodes (${known.join(', ')}): --nodes ${count} would leave some out. Use another folder with --dir, or --nodes ${Math.max(...numbers)}`,
    );
  }
  return Array.from({ length: count }, (_, index) => `node${index + 1}`);
}

/** The leader is stopped last; when nobody can be asked, any order will do. */
async function currentLeader(api: ApiClient): Promise<string | null> {
  const status = await Promise.race([api.status().catch(() => null), sleep(700, null)]);
  return status?.leader?.node ?? null;
}

function makeEphemeral(): string {
  const dir = mkdtempSync(join(tmpdir(), 'leasehold-'));
  chmodSync(dir, 0o755); // PostgreSQL's own user must get in
  return dir;
}

function removeLayout(layout: Layout): void {
  if (basename(layout.dir) !== '') rmSync(layout.dir, { recursive: true, force: true });
  if (!layout.nodesDir.startsWith(layout.dir)) rmSync(layout.nodesDir, { recursive: true, force: true });
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1).padStart(5)} s`;
}
