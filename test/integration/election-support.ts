import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { type ClusterView, readClusterView } from '../../election/core/cluster-view.ts';
import { identityFor } from '../../election/postgres/identity.ts';
import { killAllProcesses } from '../../election/postgres/processes.ts';
import { createEtcdStore } from '../../election/store/etcd.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import type { MemberRecord, RouteRecord } from '../../election/store/records.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';
import { freePorts } from '../support/ports.ts';

export const TTL_MS = 3000;
const TOKEN = 'token-of-the-test';
const CLUSTER = 'trial';
const CLI = resolve(import.meta.dirname, '../../ops/cli.ts');
const keys = keysOf(CLUSTER);

export interface AgentProcess {
  readonly node: string;
  readonly port: number;
  readonly dataDir: string;
  readonly configFile: string;
  child: ChildProcess;
  /** Log lines so far, of all its lives. */
  readonly log: string[];
}

type PreparedAgent = Omit<AgentProcess, 'child'>;

/** Agents as processes of their own, each with its PostgreSQL, on one etcd; without a proxy. */
export class AgentCluster implements AsyncDisposable {
  readonly folder: string;
  readonly etcd: TestEtcd;
  readonly agents: ReadonlyMap<string, AgentProcess>;
  readonly #store: LeaseStore;
  readonly #following = new AbortController();
  #view: ClusterView | null = null;

  private constructor(folder: string, etcd: TestEtcd, agents: ReadonlyMap<string, AgentProcess>) {
    this.folder = folder;
    this.etcd = etcd;
    this.agents = agents;
    this.#store = createEtcdStore({ endpoints: [etcd.endpoint], logger: pino({ level: 'silent' }) });
    this.#store.follow(keys.prefix, {
      refreshMs: 1000,
      signal: this.#following.signal,
      onSnapshot: (snapshot) => {
        this.#view = readClusterView(CLUSTER, snapshot);
      },
      onUnreachable: () => {},
    });
  }

  /** `first` prepares the data of the first node: then the others start when it leads. */
  static async start(
    nodes: readonly string[],
    first?: (agent: Pick<AgentProcess, 'dataDir' | 'configFile'>) => void,
  ): Promise<AgentCluster> {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leasehold-election-')));
    chmodSync(folder, 0o755);
    const etcd = await startEtcd(['--heartbeat-interval', '50', '--election-timeout', '500']);
    const ports = await freePorts(nodes.length);
    const prepared = nodes.map((node, index) => prepareAgent(folder, etcd.endpoint, node, ports[index] as number));
    const agents = new Map<string, AgentProcess>();
    const cluster = new AgentCluster(folder, etcd, agents);
    try {
      first?.(prepared[0] as PreparedAgent);
      for (const agent of prepared) {
        agents.set(agent.node, { ...agent, child: launch(agent) });
        if (first !== undefined) await cluster.until('the first node leads', () => cluster.openRoute !== null, 30_000);
      }
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
    return cluster;
  }

  /** What etcd shows now. */
  get view(): ClusterView {
    assert.ok(this.#view !== null, 'etcd has not answered yet');
    return this.#view;
  }

  get leader(): MemberRecord {
    const member = this.view.members.get(this.view.leader?.record.node ?? '');
    assert.ok(member !== undefined, 'there is no leader');
    return member;
  }

  agent(node: string): AgentProcess {
    const found = this.agents.get(node);
    assert.ok(found !== undefined, node);
    return found;
  }

  /** Null while writes are held. */
  get openRoute(): RouteRecord | null {
    const route = this.#view?.route ?? null;
    return route === null || route.hold ? null : route;
  }

  async until(what: string, condition: () => boolean | Promise<boolean>, boundMs: number): Promise<number> {
    const startedMs = performance.now();
    let last = '';
    while (performance.now() - startedMs < boundMs) {
      try {
        if (await condition()) return performance.now() - startedMs;
      } catch (error) {
        last = String(error);
      }
      await sleep(5);
    }
    assert.fail(`not within ${boundMs} ms: ${what} ${last}\n${this.#story()}`);
  }

  /** An open route of a term after `afterTerm`; everybody else streams from its leader and counts in its quorum. */
  untilInStep(afterTerm = 0n, boundMs = 30_000): Promise<number> {
    return this.until('all nodes in step', () => this.isInStep(afterTerm), boundMs);
  }

  isInStep(afterTerm = 0n): boolean {
    const route = this.openRoute;
    if (route === null || route.term <= afterTerm || this.view.leader?.record.term !== route.term) return false;
    const leader = this.view.members.get(route.leader);
    if (leader?.state !== 'LEADER_OPEN') return false;
    const counted = this.view.sync?.record.members.length ?? 0;
    if (counted < this.agents.size - 1) return false;
    return [...this.agents.keys()].every((node) => {
      const member = this.view.members.get(node);
      if (node === route.leader || member === undefined) return member !== undefined;
      return member.state === 'FOLLOWER' && member.streaming && member.timeline === leader.timeline;
    });
  }

  async requestSwitchover(to: string | null): Promise<void> {
    const value = JSON.stringify({ id: `test-${Date.now()}`, to, requestedAt: new Date().toISOString() });
    await this.#store.transact(
      { compare: [], then: [{ type: 'put', key: keys.switchover, value }] },
      { deadlineMs: 2000 },
    );
  }

  /** Settings of the whole cluster. */
  async putSettings(version: number, settings: object): Promise<void> {
    const value = JSON.stringify({ version, by: 'the test', at: new Date().toISOString(), settings });
    await this.#store.transact({ compare: [], then: [{ type: 'put', key: keys.config, value }] }, { deadlineMs: 2000 });
  }

  /** POST to the agent's own API. */
  async ask(node: string, path: string): Promise<void> {
    const { apiUrl } = this.view.members.get(node) as MemberRecord;
    const headers = { authorization: `Bearer ${TOKEN}` };
    const response = await fetch(apiUrl + path, { method: 'POST', headers, signal: AbortSignal.timeout(5000) });
    assert.ok(response.ok, `${path}: ${response.status} ${await response.text()}`);
  }

  /** The same with a body, and its refusal. */
  async tryAsk(node: string, path: string, body: object): Promise<{ status: number; message: string }> {
    const { apiUrl } = this.view.members.get(node) as MemberRecord;
    const headers = { authorization: `Bearer ${TOKEN}` };
    const response = await fetch(apiUrl + path, { method: 'POST', headers, body: JSON.stringify(body) });
    const answer = (await response.json()) as { message?: string };
    return { status: response.status, message: answer.message ?? '' };
  }

  async status(node: string): Promise<Record<string, unknown>> {
    const { apiUrl } = this.view.members.get(node) as MemberRecord;
    const response = await fetch(`${apiUrl}/status`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as Record<string, unknown>;
  }

  restart(node: string): void {
    const agent = this.agent(node);
    agent.child = launch(agent);
  }

  /** SIGTERM; resolves when it has ended, to its exit code. */
  async stop(node: string): Promise<number | null> {
    const { child } = this.agent(node);
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
    child.kill('SIGTERM');
    return await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#following.abort();
    await this.#store.close();
    const { uid } = identityFor(undefined);
    for (const { child, dataDir } of this.agents.values()) {
      child.kill('SIGKILL');
      await killAllProcesses(dataDir, uid);
    }
    await sleep(300); // the watchdogs notice
    await this.etcd[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #story(): string {
    const view = JSON.stringify(this.#view, (_, value: unknown) => {
      if (typeof value === 'bigint') return value.toString();
      return value instanceof Map ? Object.fromEntries(value) : value;
    });
    const logs = [...this.agents.values()].flatMap(({ node, log }) => log.slice(-25).map((line) => `${node} ${line}`));
    return `${view}\n${logs.join('\n')}`;
  }
}

function prepareAgent(folder: string, etcd: string, node: string, port: number): PreparedAgent {
  const dataDir = join(folder, node);
  const configFile = join(folder, `${node}.yaml`);
  const config = {
    cluster: { name: CLUSTER, etcd: [etcd], ttlMs: TTL_MS, apiToken: TOKEN },
    service: { password: 'service' },
    agent: {
      node,
      dataDir,
      listen: { port },
      postgres: { parameters: { shared_buffers: '16MB', max_wal_size: '256MB' } },
      replication: { password: 'replication' },
      bootstrap: { roles: [{ name: 'app', password: 'app' }], databases: [{ name: 'app', owner: 'app' }] },
    },
  };
  writeFileSync(configFile, stringify(config), { mode: 0o600 });
  return { node, port, dataDir, configFile, log: [] };
}

function launch(agent: Pick<AgentProcess, 'configFile' | 'log' | 'node'>): ChildProcess {
  const child = spawn(process.execPath, [CLI, 'agent', '--config', agent.configFile], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...process.env, LEASEHOLD_DIE_WITH_PARENT: '1' },
    detached: true,
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().split('\n').filter(Boolean)) {
        agent.log.push(line);
        if (process.env['ELECTION_TEST_LOG'] !== undefined) process.stderr.write(`${agent.node} ${line}\n`);
      }
    });
  }
  return child;
}
