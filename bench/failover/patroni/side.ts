import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { stringify } from 'yaml';
import { identityFor } from '../../../election/postgres/identity.ts';
import { killAllProcesses } from '../../../election/postgres/processes.ts';
import { postgresUser } from '../../../ops/setup/os-user.ts';
import { startEtcd, type TestEtcd } from '../../../test/support/etcd.ts';
import { freePorts } from '../../../test/support/ports.ts';
import { type Fault, type Side, until } from '../side.ts';
import { query } from '../writer.ts';
import { haproxyConfig, isInStep, type Member, memberConfig, type PatroniMode, type PatroniNode } from './config.ts';
import type { PatroniPrograms } from './programs.ts';

const NODES = ['patroni1', 'patroni2', 'patroni3'] as const;
/** The same as etcd's of a local cluster of ours. */
const ETCD_FLAGS = ['--heartbeat-interval=50', '--election-timeout=500'];

/** Three members of Patroni with an etcd of their own, behind HAProxy. */
export async function startPatroni(mode: PatroniMode, programs: PatroniPrograms): Promise<Side> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-patroni-'));
  chmodSync(folder, 0o755);
  const etcd = await startEtcd(ETCD_FLAGS);
  const side = new PatroniSide({ mode, programs, folder, etcd, ports: await freePorts(1 + 2 * NODES.length) });
  try {
    await side.start();
    return side;
  } catch (error) {
    const log = side.log();
    await side[Symbol.asyncDispose]();
    throw new Error(`${mode.name} did not start: ${(error as Error).message}\n${log}`);
  }
}

interface Parts {
  readonly mode: PatroniMode;
  readonly programs: PatroniPrograms;
  readonly folder: string;
  readonly etcd: TestEtcd;
  /** HAProxy's, then PostgreSQL's and the REST API's of each node. */
  readonly ports: readonly number[];
}

class PatroniSide implements Side {
  readonly name: string;
  readonly about: string;
  readonly port: number;
  readonly cycleMs: number;
  readonly #parts: Parts;
  readonly #nodes: readonly PatroniNode[];
  readonly #running = new Map<string, ChildProcess>();
  readonly #uid = identityFor(undefined).uid;

  constructor(parts: Parts) {
    const { mode, folder, ports } = parts;
    const { ttl, loop_wait, retry_timeout, primary_start_timeout } = mode.timings;
    this.#parts = parts;
    this.name = mode.name;
    this.cycleMs = loop_wait * 1000;
    this.port = ports[0] as number;
    this.about = `${parts.programs.versions}: ttl ${ttl}, loop_wait ${loop_wait}, retry_timeout ${retry_timeout}, primary_start_timeout ${primary_start_timeout}, synchronous_mode on; HAProxy \`${mode.checks}\``;
    this.#nodes = NODES.map((name, index) => ({
      name,
      folder: join(folder, name),
      postgresPort: ports[1 + 2 * index] as number,
      restPort: ports[2 + 2 * index] as number,
    }));
  }

  async start(): Promise<void> {
    const { mode, folder, etcd } = this.#parts;
    const binDir = process.env['LEASEHOLD_PG_BIN'] ?? '';
    const user = postgresUser();
    for (const node of this.#nodes) {
      mkdirSync(node.folder, { mode: 0o700 });
      if (user !== null) chownSync(node.folder, user.uid, user.gid);
      const plan = { mode, node, etcd: new URL(etcd.endpoint).host, binDir };
      writeFileSync(join(folder, `${node.name}.yaml`), stringify(memberConfig(plan)));
    }
    writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(mode, this.port, this.#nodes));
    for (const { name } of this.#nodes) this.#startMember(name);
    this.#startHaproxy();
    await until('Patroni has a leader and two standbys in step', 120_000, () => this.#inStep());
    await this.#makeDatabase();
    await this.settle();
  }

  async settle(): Promise<void> {
    await until(`${this.name}: all in step`, 150_000, () => this.#inStep());
    await until(`${this.name}: HAProxy passes on to the leader`, 60_000, async () => {
      const [row] = await query(this.port, 'SELECT pg_is_in_recovery() AS standby');
      return row?.['standby'] === false;
    });
  }

  async crash(): Promise<Fault> {
    const leader = await this.#leader();
    const struckMs = performance.now();
    await killAllProcesses(this.#dataDir(leader), this.#uid);
    return { struckMs, restore: () => undefined };
  }

  async loseHost(): Promise<Fault> {
    const leader = await this.#leader();
    const struckMs = performance.now();
    this.#running.get(leader)?.kill('SIGKILL');
    await killAllProcesses(this.#dataDir(leader), this.#uid);
    return { struckMs, restore: () => this.#startMember(leader) };
  }

  async switchover(): Promise<void> {
    const leader = await this.#leader();
    const { restPort } = this.#nodes.find(({ name }) => name === leader) as PatroniNode;
    const response = await fetch(`http://127.0.0.1:${restPort}/switchover`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ leader }),
      signal: AbortSignal.timeout(90_000),
    });
    // 503: it was still under way when Patroni's own patience ended. What clients see is what counts.
    if (!response.ok && response.status !== 503) {
      throw new Error(`${this.name}: switchover: ${response.status} ${await response.text()}`);
    }
  }

  log(): string {
    const tail = (name: string): string => {
      try {
        return readFileSync(join(this.#parts.folder, `${name}.log`), 'utf8').slice(-1500);
      } catch {
        return '';
      }
    };
    return [...NODES, 'haproxy'].map((name) => `── ${name}\n${tail(name)}`).join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running.values()) child.kill('SIGKILL');
    for (const { folder } of this.#nodes) await killAllProcesses(`${folder}/data`, this.#uid);
    await this.#parts.etcd[Symbol.asyncDispose]();
    rmSync(this.#parts.folder, { recursive: true, force: true });
  }

  #startMember(name: string): void {
    const { programs, folder } = this.#parts;
    this.#spawn(name, programs.python, [programs.patroni, join(folder, `${name}.yaml`)]);
  }

  #startHaproxy(): void {
    const { programs, folder } = this.#parts;
    this.#spawn('haproxy', programs.haproxy, ['-db', '-f', join(folder, 'haproxy.cfg')]);
  }

  #spawn(name: string, program: string, args: readonly string[]): void {
    const { programs, folder } = this.#parts;
    const user = postgresUser();
    const log = openSync(join(folder, `${name}.log`), 'a');
    const child = spawn(program, args, {
      env: programs.env,
      cwd: folder,
      stdio: ['ignore', log, log],
      detached: true,
      ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
    });
    closeSync(log);
    child.on('error', () => undefined); // shows as a member that is not there
    this.#running.set(name, child);
  }

  async #makeDatabase(): Promise<void> {
    const leader = await this.#leader();
    const { postgresPort } = this.#nodes.find(({ name }) => name === leader) as PatroniNode;
    const client = new pg.Client(`postgres://postgres:postgres@127.0.0.1:${postgresPort}/postgres`);
    await client.connect();
    await client.query("CREATE ROLE app LOGIN PASSWORD 'app'");
    await client.query('CREATE DATABASE app OWNER app');
    await client.end();
  }

  async #leader(): Promise<string> {
    const leader = (await this.#members()).find(({ role }) => role === 'leader');
    if (leader === undefined) throw new Error(`${this.name} has no leader`);
    return leader.name;
  }

  async #inStep(): Promise<boolean> {
    return isInStep(await this.#members(), NODES.length);
  }

  /** Asked of each member in turn: one may be down. */
  async #members(): Promise<readonly Member[]> {
    for (const { restPort } of this.#nodes) {
      const answer = await fetch(`http://127.0.0.1:${restPort}/cluster`, { signal: AbortSignal.timeout(3000) })
        .then((response) => response.json() as Promise<{ members: Member[] }>)
        .catch(() => null);
      if (answer !== null) return answer.members;
    }
    throw new Error('no member of Patroni answers');
  }

  #dataDir(node: string): string {
    return join(this.#parts.folder, node, 'data');
  }
}
