import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { parse } from 'yaml';
import { packageVersion } from '../../ops/paths.ts';
import { RENEW_EVERY_MS } from '../../election/core/lease-deadline.ts';
import { identityFor } from '../../election/postgres/identity.ts';
import { killAllProcesses, sendSignal } from '../../election/postgres/processes.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import { keysOf } from '../../election/store/keys.ts';
import { type ClusterContent, ClusterReader } from '../../proxy/cluster/cluster-reader.ts';
import { phasesOf, sightingsOf } from '../../proxy/drill/sightings.ts';
import type { Sighting } from '../../proxy/drill/types.ts';
import { type LocalCluster, startLocalCluster } from '../../test/support/local-cluster.ts';
import { childrenOf, commandLine } from '../../test/support/processes.ts';
import type { Fault, Observation, Side } from './side.ts';

/** An agent that is started takes longer than this before it does anything. */
const GUARD_MS = 50;

/** The cluster that `npm start` makes. */
export async function startLeasehold(): Promise<Side> {
  return new LeaseholdSide(await startLocalCluster());
}

class LeaseholdSide implements Side {
  readonly name = 'leasehold';
  readonly about: string;
  readonly port: number;
  readonly cycleMs = RENEW_EVERY_MS;
  readonly #cluster: LocalCluster;
  readonly #uid = identityFor(undefined).uid;
  readonly #etcd: string;
  readonly #clusterName: string;

  constructor(cluster: LocalCluster) {
    this.#cluster = cluster;
    this.port = cluster.port;
    const text = readFileSync(join(cluster.dir, 'cluster/config/proxy1.yaml'), 'utf8');
    const { cluster: settings } = parse(text) as { cluster: { name: string; etcd: string[]; ttlMs: number } };
    this.#etcd = settings.etcd[0] ?? '';
    this.#clusterName = settings.name;
    this.about = `Leasehold ${packageVersion()}, as \`npm start\` runs it: lease ${settings.ttlMs / 1000} s, quorum commit (any 1 of 2 followers)`;
  }

  settle(): Promise<void> {
    return this.#cluster.untilInStep(90_000);
  }

  async crash(): Promise<Fault> {
    const { node } = await this.#cluster.leader();
    const struckMs = performance.now();
    await killAllProcesses(this.#dataDir(node), this.#uid);
    return { struckMs, restore: () => undefined };
  }

  async loseHost(): Promise<Fault> {
    const { node, agentPid } = await this.#cluster.leader();
    if (agentPid === null) throw new Error(`the agent of ${node} has no pid`);
    const watchdogs = childrenOf(agentPid).filter((pid) => commandLine(pid).includes('watchdog-main'));
    const struckMs = performance.now();
    for (const pid of [agentPid, ...watchdogs]) sendSignal(pid, 'SIGKILL');
    // `up` starts the agent again, which a host that is gone would not.
    const guard = setInterval(() => this.#killAgent(node), GUARD_MS);
    await killAllProcesses(this.#dataDir(node), this.#uid);
    return { struckMs, restore: () => clearInterval(guard) };
  }

  async switchover(): Promise<void> {
    const { status, output } = await this.#cluster.cli('switchover');
    if (status !== 0) throw new Error(output);
  }

  observe(): Observation {
    const store = createEtcdStore({ endpoints: [this.#etcd], logger: pino({ level: 'silent' }) });
    const following = new AbortController();
    const reader = new ClusterReader(keysOf(this.#clusterName));
    const seen: Sighting[] = [];
    let leader: string | null = null;
    let before: ClusterContent | null = null;
    store.follow(keysOf(this.#clusterName).prefix, {
      refreshMs: 1000,
      signal: following.signal,
      onUnreachable: () => undefined,
      onSnapshot(snapshot) {
        const after = reader.read(snapshot);
        const atMs = performance.now();
        leader ??= after.leader?.record.node ?? null;
        if (before !== null) for (const one of sightingsOf(before, after)) seen.push({ atMs, ...one });
        before = after;
      },
    });
    return async (struckMs, firstMs) => {
      following.abort();
      await store.close();
      const timeline: Sighting[] = [{ atMs: struckMs, type: 'struck', node: null, text: '' }, ...seen];
      const write = { id: 0, sentMs: firstMs, endedMs: firstMs, outcome: 'acknowledged' };
      return {
        phases: { ...phasesOf(timeline, leader, [write]) },
        timeline: seen.map(({ atMs, text }) => `${Math.round(atMs - struckMs)} ms ${text}`),
      };
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster.stop();
  }

  #killAgent(node: string): void {
    const { pid: up } = this.#cluster.up;
    if (up === undefined) return;
    for (const pid of childrenOf(up)) if (commandLine(pid).includes(`/${node}.yaml`)) sendSignal(pid, 'SIGKILL');
  }

  #dataDir(node: string): string {
    return realpathSync(join(this.#cluster.dir, 'cluster/nodes', node, 'data'));
  }
}
