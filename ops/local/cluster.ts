import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseholdError } from '../../common/errors.ts';
import { cliFile, compileCacheFolder, leashFile } from '../paths.ts';
import type { Programs } from '../setup/prepare.ts';
import { etcdArguments, type LocalClusterPlan } from './config-files.ts';
import { type Layout, noteChildren } from './layout.ts';
import type { LogSink } from './log-sink.ts';
import { markOf, waitUntilGone } from './process-table.ts';
import { Supervisor } from './supervisor.ts';

export interface LocalClusterOptions {
  readonly layout: Layout;
  readonly plan: LocalClusterPlan;
  readonly configFiles: ReadonlyMap<string, string>;
  readonly programs: Programs;
  readonly sink: LogSink;
  /** Further settings, `path=value`. */
  readonly sets: readonly string[];
  /** A child that does not come up, again and again. */
  readonly onFailing: (name: string, how: string) => void;
}

const DRAIN_MS = 8000;
const AGENT_STOP_MS = 20_000;
const ETCD_STOP_MS = 5000;

/** The processes of a local cluster: one etcd, the agents (each with its PostgreSQL), the proxies. */
export class LocalCluster {
  readonly #options: LocalClusterOptions;
  readonly #supervisor: Supervisor;

  constructor(options: LocalClusterOptions) {
    const { sink, layout } = options;
    this.#options = options;
    this.#supervisor = new Supervisor({
      onEnded: (name, how, delayMs) => {
        sink.own('warn', 'child.ended', `${name} ended (${how}); starting it again in ${delayMs} ms`);
      },
      onFailing: options.onFailing,
      onPids: (pids) => noteChildren(layout, pids),
    });
  }

  async startEtcd(signal: AbortSignal): Promise<void> {
    const { layout, plan, programs, sink } = this.#options;
    this.#supervisor.start({
      name: 'etcd',
      args: [leashFile, programs.etcd.program, ...etcdArguments(layout, plan.ports)],
      // Debian's etcd 3.4 asks for this on arm64.
      env: { ...process.env, ...(process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {}) },
      onLine: (line) => sink.line('etcd', line),
    });
    const deadline = performance.now() + 20_000;
    while (performance.now() < deadline) {
      if (await isHealthy(plan.ports.etcdClient)) return;
      await sleep(50, undefined, { signal });
    }
    throw new LeaseholdError('START', `etcd does not answer within 20 s:\n  ${sink.recent('etcd').join('\n  ')}`);
  }

  startAgents(): void {
    for (const node of this.#options.plan.nodes) this.#startRole('agent', node);
  }

  startProxies(): void {
    for (const { id } of this.#options.plan.proxies) this.#startRole('proxy', id);
  }

  pidOf(name: string): number | null {
    return this.#supervisor.pidOf(name);
  }

  /**
   * In order: proxies (they drain), agents of followers, the leader's, etcd. `hurry` cuts every wait short. Resolves
   * when no process is left.
   */
  async stop(leader: string | null, hurry: AbortSignal, report: (line: string) => void): Promise<void> {
    const { plan } = this.#options;
    report('stopping: proxies …');
    const killed = await this.#supervisor.stop(names(plan.proxies), DRAIN_MS, hurry);
    const followers = plan.nodes.filter((node) => node !== leader);
    report(`stopping: ${followers.join(', ')} …`);
    killed.push(...(await this.#supervisor.stop(followers, AGENT_STOP_MS, hurry)));
    if (leader !== null) {
      report(`stopping: ${leader} (leader) …`);
      killed.push(...(await this.#supervisor.stop([leader], AGENT_STOP_MS, hurry)));
    }
    await this.#awaitPostgres();
    killed.push(...(await this.#supervisor.stop(['etcd'], ETCD_STOP_MS, hurry)));
    if (killed.length > 0) report(`killed, since they did not stop in time: ${killed.join(', ')}`);
  }

  /** An agent that had to be killed leaves its PostgreSQL to its watchdog: wait for that, and be sure. */
  async #awaitPostgres(): Promise<void> {
    const marks = this.#options.plan.nodes.flatMap((node) => {
      const pid = postmasterPid(join(this.#options.layout.nodesDir, node, 'data'));
      return pid === null ? [] : [markOf(pid)];
    });
    await waitUntilGone(marks, 5000);
  }

  #startRole(role: 'agent' | 'proxy', name: string): void {
    const { configFiles, programs, sink } = this.#options;
    const { libDir } = programs.postgres;
    this.#supervisor.start({
      name,
      args: [cliFile, role, '--config', configFiles.get(name) ?? '', ...settingsFor(role, this.#options.sets)],
      env: {
        ...environmentFor(role, process.env),
        LEASEHOLD_DIE_WITH_PARENT: '1',
        // For its watchdog too, which is no command of ours.
        NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? compileCacheFolder(process.env),
        ...(libDir === null ? {} : { LEASEHOLD_PG_LIB: libDir }),
      },
      onLine: (line) => sink.line(name, line),
    });
  }
}

/** What `up` itself decides for each process; these variables of the caller are meant for something else. */
const OWN_SETTINGS =
  /^LEASEHOLD_(CONFIG|SERVICE_|CLUSTER_(NAME|ETCD|API_TOKEN)|PROXY_(ID|LISTEN|HTTP|ADVERTISE)|AGENT_(NODE|DATA_DIR|LISTEN|ADVERTISE|API|REPLICATION|BOOTSTRAP|POSTGRES_BIN))/;

/** The caller's environment for an agent or a proxy: further settings reach whom they are for. Exported for its test. */
export function environmentFor(role: 'agent' | 'proxy', env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  // Half an `agent` section would be a fault in a proxy's configuration.
  const others = role === 'proxy' ? /^LEASEHOLD_AGENT_/ : /^LEASEHOLD_PROXY_/;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OWN_SETTINGS.test(name) && !others.test(name)));
}

/** `--set` flags for a process, out of those given to `up`. */
function settingsFor(role: 'agent' | 'proxy', sets: readonly string[]): string[] {
  return sets
    .filter((set) => ['cluster.', 'drills.', `${role}.`].some((part) => set.startsWith(part)))
    .flatMap((set) => ['--set', set]);
}

function names(proxies: readonly { readonly id: string }[]): string[] {
  return proxies.map(({ id }) => id);
}

/** The postmaster of a data folder, if one runs. The first line of postmaster.pid, and only if that process sits in the folder. */
function postmasterPid(dataDir: string): number | null {
  const file = join(dataDir, 'postmaster.pid');
  if (!existsSync(file)) return null;
  const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
  if (!Number.isInteger(pid) || pid <= 1) return null;
  try {
    // A pid file outlives a crash, and its pid may by now be somebody else's.
    if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('postgres')) return null;
  } catch {
    rmSync(file, { force: true });
    return null;
  }
  return pid;
}

async function isHealthy(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(1000) });
    return response.ok && (await response.text()).includes('true');
  } catch {
    return false;
  }
}
