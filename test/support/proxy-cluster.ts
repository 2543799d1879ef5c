import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { type LeaseholdConfig, leaseholdConfig } from '../../common/config/schema.ts';
import { NO_LSN, parseTerm } from '../../common/lsn.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseId, LeaseStore } from '../../election/store/port.ts';
import { encodeRecord, leaderRecord, memberRecord, routeRecord } from '../../election/store/records.ts';
import { type RunningProxy, runProxy } from '../../proxy/server/run-proxy.ts';
import { proxyReady, seesRoute } from './await-proxy.ts';
import { freePorts } from './ports.ts';
import { putHistory } from './history.ts';
import { findBinDir } from './programs-folder.ts';
import { startEtcd, type TestEtcd } from './etcd.ts';
import { stopProcess, unprivileged } from './server-process.ts';

const run = promisify(execFile);
const CALL = { deadlineMs: 3000 };
const KEYS = keysOf('main');

/** One PostgreSQL server without an agent. */
export interface TestNode {
  readonly name: string;
  readonly port: number;
  readonly data: string;
  readonly settings: readonly string[];
  process: ChildProcess;
}

/**
 * A leader, followers made by pg_basebackup, an etcd and one proxy in this process. No agents: the test itself plays the
 * election, by writing the records that proxies obey. Superuser `postgres`/`postgres`, user `app`/`app` with
 * database `app`.
 */
export class ProxyCluster {
  readonly nodes = new Map<string, TestNode>();
  readonly etcd: TestEtcd;
  readonly store: LeaseStore;
  readonly folder: string;
  proxy: RunningProxy | null = null;
  leader = 'node1';
  term = 1n;
  #seq = 0;
  #nextXid: string | null = null;
  #lease: LeaseId | null = null;
  #members: LeaseId | null = null;
  readonly #binDir: string;
  readonly #identity: { uid?: number; gid?: number };
  #stopProxy = new AbortController();
  #settings: Record<string, unknown> = {};
  #keepAlive: NodeJS.Timeout | null = null;

  private constructor(folder: string, binDir: string, identity: { uid?: number; gid?: number }, etcd: TestEtcd) {
    this.folder = folder;
    this.#binDir = binDir;
    this.#identity = identity;
    this.etcd = etcd;
    this.store = createEtcdStore({ endpoints: [etcd.endpoint], logger: pino({ level: 'silent' }) });
  }

  static async start(options: {
    readonly followers: number;
    readonly proxy?: Record<string, unknown>;
    readonly followerSettings?: readonly string[];
    readonly settings?: readonly string[];
  }): Promise<ProxyCluster> {
    const binDir = await findBinDir();
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-proxy-'));
    const identity = await unprivileged(folder);
    const cluster = new ProxyCluster(folder, binDir, identity, await startEtcd());
    try {
      const { settings = [], followerSettings = [] } = options;
      await cluster.#startLeader(settings);
      for (let i = 0; i < options.followers; i++)
        await cluster.addFollower(`node${i + 2}`, [...settings, ...followerSettings]);
      await cluster.#publishFirst();
      await cluster.#startProxy(options.proxy ?? {});
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  get url(): string {
    return `postgres://app:app@127.0.0.1:${this.port}/app`;
  }

  get port(): number {
    return this.proxy?.address.port ?? 0;
  }

  node(name: string): TestNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  /** psql as the superuser, on a node itself. */
  async sql(node: string, text: string, database = 'app'): Promise<string> {
    const args = ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', this.folder, '-p', String(this.node(node).port)];
    return (await run('psql', [...args, '-U', 'postgres', '-d', database, '-c', text])).stdout.trim();
  }

  async addFollower(name: string, settings: readonly string[] = []): Promise<void> {
    const data = join(this.folder, name);
    const from = `host=${this.folder} port=${this.node(this.leader).port} user=postgres application_name=${name}`;
    await run(join(this.#binDir, 'pg_basebackup'), ['-D', data, '-R', '-c', 'fast', '--no-sync', '-d', from], {
      ...this.#identity,
    });
    await this.#startServer(name, data, settings);
  }

  async restart(name: string): Promise<void> {
    const { data, port, settings } = this.node(name);
    await this.#startServer(name, data, settings, port);
  }

  /** Ends the leader by SIGKILL; nobody is told. */
  async killLeader(): Promise<void> {
    await stopProcess(this.node(this.leader).process, 'SIGKILL', this.node(this.leader).data);
  }

  /** The leader key goes, as when the agent of a crashed leader releases it. */
  async releaseLeader(): Promise<void> {
    if (this.#lease !== null) await this.store.revokeLease(this.#lease, CALL);
    this.#lease = null;
  }

  /** Promotes a follower and opens the route of a new term to it. `fenced` runs when it writes and nobody else may yet. */
  async promote(name: string, fenced?: () => Promise<unknown>): Promise<void> {
    await this.releaseLeader();
    const { data } = this.node(name);
    await run(join(this.#binDir, 'pg_ctl'), ['promote', '-w', '-D', data], { ...this.#identity });
    this.#nextXid = await this.sql(name, 'SELECT pg_snapshot_xmax(pg_current_snapshot())', 'postgres');
    const previousLeader = this.leader;
    this.leader = name;
    this.term += 1n;
    await putHistory(this.store, this.leader, this.term, { previousLeader, nextXid: this.#nextXid });
    await fenced?.();
    await this.publish(false);
  }

  /** Writes leader (on a lease) and route, and waits until the proxy has seen it: what is sent afterwards is under it. */
  async publish(hold: boolean): Promise<void> {
    const term = parseTerm(this.term);
    const address = { host: '127.0.0.1', port: this.node(this.leader).port };
    this.#lease ??= (await this.store.grantLease(5000, CALL)).lease;
    this.#seq += 1;
    const leader = encodeRecord(leaderRecord, { node: this.leader, term, bootId: 'boot', address });
    const route = { term, leader: this.leader, address, hold, seq: this.#seq, nextXid: this.#nextXid };
    await this.store.transact(
      {
        compare: [],
        then: [
          { type: 'put', key: KEYS.leader, value: leader, lease: this.#lease },
          { type: 'put', key: KEYS.route, value: encodeRecord(routeRecord, route) },
        ],
      },
      CALL,
    );
    if (this.proxy !== null && !this.#stopProxy.signal.aborted) await seesRoute(this.proxy.httpUrl, this.#seq);
  }

  /** As SIGTERM does to `leasehold proxy`. */
  async stopProxy(): Promise<void> {
    this.#stopProxy.abort();
    await this.proxy?.closed;
  }

  async #publishFirst(): Promise<void> {
    this.#members = (await this.store.grantLease(60_000, CALL)).lease;
    await this.publish(false);
    for (const name of this.nodes.keys()) await this.#publishMember(name);
    this.#keepAlive = setInterval(() => {
      for (const lease of [this.#lease, this.#members]) {
        if (lease !== null) void this.store.keepAlive(lease, { deadlineMs: 1000 }).catch(() => undefined);
      }
    }, 1000);
  }

  async #publishMember(name: string): Promise<void> {
    const value = encodeRecord(memberRecord, {
      node: name,
      address: { host: '127.0.0.1', port: this.node(name).port },
      apiUrl: 'http://127.0.0.1:1',
      state: name === this.leader ? 'LEADER_OPEN' : 'FOLLOWER',
      term: parseTerm(this.term),
      timeline: 1,
      flushedLsn: NO_LSN,
      replayedLsn: NO_LSN,
      streaming: name !== this.leader,
      systemId: null,
      postgresVersion: null,
      postgresPid: null,
      agentPid: process.pid,
      priority: 50,
      noFailover: false,
      note: null,
    });
    const lease = this.#members as LeaseId;
    const then = [{ type: 'put' as const, key: KEYS.member(name), value, lease }];
    await this.store.transact({ compare: [], then }, CALL);
  }

  async #startLeader(settings: readonly string[]): Promise<void> {
    const data = join(this.folder, 'node1');
    const password = join(this.folder, 'password');
    await run('sh', ['-c', 'printf postgres > "$0"', password], { ...this.#identity });
    const initdb = ['-D', data, '-U', 'postgres', '--auth-local=trust', '--auth-host=scram-sha-256', '--no-sync'];
    await run(join(this.#binDir, 'initdb'), [...initdb, '--encoding=UTF8', '--locale=C', `--pwfile=${password}`], {
      ...this.#identity,
    });
    await this.#startServer('node1', data, settings);
    await this.sql('node1', "CREATE ROLE leasehold_proxy LOGIN SUPERUSER PASSWORD 'service'", 'postgres');
    await this.sql('node1', "CREATE ROLE app LOGIN PASSWORD 'app'", 'postgres');
    await this.sql('node1', 'CREATE DATABASE app OWNER app', 'postgres');
  }

  async #startServer(name: string, data: string, settings: readonly string[], at?: number): Promise<void> {
    const port = at ?? (await freePorts(1))[0];
    const all = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${this.folder}`,
      'fsync=off',
      'max_connections=200',
      'wal_level=replica',
      'shared_buffers=32MB',
      'autovacuum=off',
      ...settings,
    ];
    const child = spawn(join(this.#binDir, 'postgres'), ['-D', data, ...all.flatMap((each) => ['-c', each])], {
      ...this.#identity,
      cwd: this.folder,
      stdio: process.env['LEASEHOLD_TEST_LOG'] === undefined ? 'ignore' : 'inherit',
    });
    this.nodes.set(name, { name, port: port as number, data, settings, process: child });
    for (let i = 0; ; i++) {
      if (await this.sql(name, 'SELECT 1', 'postgres').catch(() => null)) return;
      if (i > 300 || child.exitCode !== null) throw new Error(`PostgreSQL ${name} did not start`);
      await sleep(50);
    }
  }

  #config(): LeaseholdConfig {
    return leaseholdConfig.parse({
      cluster: { etcd: [this.etcd.endpoint] },
      service: { password: 'service' },
      proxy: { listen: { port: 0 }, http: { port: 0 }, consoleUsers: ['postgres', 'app'], ...this.#settings },
    });
  }

  /** Settings of the proxy besides those it was started with, read by its next reload or by its successor. */
  change(settings: Record<string, unknown>): void {
    this.#settings = { ...this.#settings, ...settings };
  }

  /** A second proxy on the ports of the first one, as after an upgrade; the first one is given back, with how to stop it. */
  async takeOver(): Promise<{ readonly old: RunningProxy; readonly stopOld: () => void }> {
    const old = this.proxy as RunningProxy;
    const stop = this.#stopProxy;
    this.#stopProxy = new AbortController();
    const http = new URL(old.httpUrl);
    const listen = { port: old.address.port, reusePort: true };
    await this.#startProxy({ ...this.#settings, listen, http: { port: Number(http.port) } });
    return { old, stopOld: () => stop.abort() };
  }

  async #startProxy(settings: Record<string, unknown>): Promise<void> {
    this.#settings = settings;
    const level = process.env['LEASEHOLD_TEST_LOG'] ?? 'silent';
    const options = { logger: pino({ level }), signal: this.#stopProxy.signal };
    this.proxy = await runProxy({ ...options, config: this.#config(), load: () => this.#config() });
    await proxyReady(this.proxy.httpUrl, this.nodes.size - 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#keepAlive !== null) clearInterval(this.#keepAlive);
    await this.stopProxy();
    await this.store.close();
    for (const node of this.nodes.values()) await stopProcess(node.process, 'SIGQUIT', node.data);
    await this.etcd[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
