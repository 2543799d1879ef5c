import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { keysOf } from '../../election/store/keys.ts';
import { cliFile, compileCacheFolder } from '../../ops/paths.ts';
import { type Disks, openDisks } from './disks.ts';
import { EtcdAdmin } from './etcd-admin.ts';
import { ManagedProcess } from './managed-process.ts';
import { type Network, openNetwork } from './network.ts';
import { NodeProcesses } from './node-processes.ts';
import { Observer } from './observer.ts';

export const NODES = ['node1', 'node2', 'node3'] as const;
export const PROXIES = ['proxy1', 'proxy2'] as const;
export const ETCDS = ['etcd1', 'etcd2', 'etcd3'] as const;
export const KEYS = keysOf('torture');
const TOKEN = 'token-of-the-torture';

export interface ClusterOptions {
  readonly ttlMs: number;
  readonly onUnexpectedEnd: (name: string, how: string) => void;
}

/** Three etcd, three nodes, two proxies, each a process (or several) of its own on a host of its own where there are namespaces. */
export class TortureCluster implements AsyncDisposable {
  readonly folder: string;
  readonly network: Network;
  readonly disks: Disks;
  readonly nodes = new Map<string, NodeProcesses>();
  readonly proxies = new Map<string, ManagedProcess>();
  readonly etcds = new Map<string, ManagedProcess>();
  readonly admin: EtcdAdmin;
  readonly observer: Observer;
  readonly ttlMs: number;
  /** Nothing is removed; for whoever wants to read the logs. */
  keep = false;

  private constructor(folder: string, parts: { network: Network; disks: Disks }, options: ClusterOptions) {
    this.folder = folder;
    this.network = parts.network;
    this.disks = parts.disks;
    this.ttlMs = options.ttlMs;
    mkdirSync(join(folder, 'log'));
    for (const name of ETCDS) this.etcds.set(name, this.#managed(name, options, this.#etcdCommand(name)));
    for (const name of NODES) {
      const agent = this.#managed(name, options, this.#roleCommand('agent', name, this.#agentConfig(name)));
      this.nodes.set(name, new NodeProcesses(agent, this.#dataDir(name)));
    }
    for (const name of PROXIES)
      this.proxies.set(name, this.#managed(name, options, this.#roleCommand('proxy', name, this.#proxyConfig(name))));
    const urls = new Map(ETCDS.map((name) => [name as string, this.#etcdUrl(name)]));
    this.admin = new EtcdAdmin(urls);
    this.observer = new Observer('torture', [...urls.values()], NODES);
  }

  static async start(options: ClusterOptions, signal: AbortSignal): Promise<TortureCluster> {
    const network = await openNetwork([...ETCDS, ...NODES, ...PROXIES]);
    const folder = realpathSync(mkdtempSync(join(tmpdir(), `leasehold-torture-${process.pid}-`)));
    chmodSync(folder, 0o755); // PostgreSQL's own user must pass through
    const disks = await openDisks(folder, NODES);
    const cluster = new TortureCluster(folder, { network, disks }, options);
    try {
      await cluster.#start(signal);
    } catch (error) {
      cluster.keep = true;
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  async #start(signal: AbortSignal): Promise<void> {
    for (const etcd of this.etcds.values()) etcd.start();
    await this.until('etcd is healthy', () => this.admin.healthy('etcd1'), 20_000, signal);
    for (const { agent } of this.nodes.values()) agent.start();
    for (const proxy of this.proxies.values()) proxy.start();
    await this.until('all nodes are in step', () => this.observer.inStep, 90_000, signal);
  }

  node(name: string): NodeProcesses {
    return this.nodes.get(name) as NodeProcesses;
  }

  proxyUrl(name: string, user: string): string {
    return `postgres://${user}:${user}@${this.network.address(name)}:${this.network.port(name, 'proxy')}/app`;
  }

  /** PostgreSQL itself. */
  nodeUrl(name: string, user: string): string {
    return `postgres://${user}:${user}@${this.network.address(name)}:${this.network.port(name, 'postgres')}/app`;
  }

  /** POST to a node's agent. */
  async askAgent(name: string, path: string): Promise<void> {
    const url = `http://${this.network.address(name)}:${this.network.port(name, 'agent')}${path}`;
    const headers = { authorization: `Bearer ${TOKEN}` };
    await fetch(url, { method: 'POST', headers, signal: AbortSignal.timeout(2000) });
  }

  /** Throws after `boundMs`, and when the signal aborts. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    boundMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const endMs = performance.now() + boundMs;
    while (!(await condition())) {
      signal.throwIfAborted();
      if (performance.now() > endMs)
        throw new NotWithin(`not within ${boundMs / 1000} s: ${what}. ${this.observer.describe()}`);
      await sleep(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.observer.close();
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.end()));
    await Promise.all([...this.nodes.values()].map((node) => node.end()));
    await Promise.all([...this.etcds.values()].map((etcd) => etcd.end()));
    await this.network[Symbol.asyncDispose]();
    if (!this.keep) await this.disks[Symbol.asyncDispose]();
    if (!this.keep) rmSync(this.folder, { recursive: true, force: true });
  }

  #managed(name: string, options: ClusterOptions, command: [string, ...string[]]): ManagedProcess {
    return new ManagedProcess({
      name,
      command,
      logFile: join(this.folder, 'log', `${name}.log`),
      env: { NODE_COMPILE_CACHE: compileCacheFolder(process.env) },
      onUnexpectedEnd: options.onUnexpectedEnd,
    });
  }

  #roleCommand(role: string, name: string, config: object): [string, ...string[]] {
    const file = join(this.folder, `${name}.yaml`);
    writeFileSync(file, stringify(config), { mode: 0o600 });
    return this.network.command(name, process.execPath, [cliFile, role, '--config', file]);
  }

  #common(): object {
    const cluster = {
      name: 'torture',
      etcd: ETCDS.map((name) => this.#etcdUrl(name)),
      ttlMs: this.ttlMs,
      apiToken: TOKEN,
    };
    return { cluster, service: { password: 'service' } };
  }

  #agentConfig(node: string): object {
    const host = this.network.address(node);
    const agent = {
      node,
      dataDir: this.#dataDir(node),
      listen: { host, port: this.network.port(node, 'postgres') },
      api: { host, port: this.network.port(node, 'agent') },
      postgres: { parameters: { shared_buffers: '32MB', max_wal_size: '256MB' } },
      replication: { password: 'replication' },
      bootstrap: {
        superuserPassword: 'postgres',
        roles: [{ name: 'app', password: 'app' }],
        databases: [{ name: 'app', owner: 'app' }],
      },
    };
    return { ...this.#common(), agent };
  }

  #proxyConfig(id: string): object {
    const host = this.network.address(id);
    const listen = { host, port: this.network.port(id, 'proxy') };
    const http = { host, port: this.network.port(id, 'http') };
    return {
      ...this.#common(),
      proxy: { id, listen, http, hold: { deadlineMs: HOLD_MS }, routing: { systemCatalogs: 'follower' } },
    };
  }

  #dataDir(node: string): string {
    return join(this.disks.folder(node), 'data');
  }

  #etcdUrl(name: string): string {
    return `http://${this.network.address(name)}:${this.network.port(name, 'etcd')}`;
  }

  #etcdCommand(name: string): [string, ...string[]] {
    const peer = (member: string) => `http://${this.network.address(member)}:${this.network.port(member, 'etcdPeer')}`;
    return this.network.command(name, process.env['LEASEHOLD_ETCD_BIN'] ?? 'etcd', [
      `--name=${name}`,
      `--data-dir=${join(this.folder, name)}`,
      '--log-level=error',
      `--listen-client-urls=${this.#etcdUrl(name)}`,
      `--advertise-client-urls=${this.#etcdUrl(name)}`,
      `--listen-peer-urls=${peer(name)}`,
      `--initial-advertise-peer-urls=${peer(name)}`,
      `--initial-cluster=${ETCDS.map((member) => `${member}=${peer(member)}`).join(',')}`,
      '--initial-cluster-state=new',
      '--heartbeat-interval=50',
      '--election-timeout=500',
    ]);
  }
}

/** How long proxies hold a write. Clients wait longer, so that it is the proxy's word that ends the wait. */
export const HOLD_MS = 20_000;

export class NotWithin extends Error {}
