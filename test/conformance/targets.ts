import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { exec } from '../../ops/setup/exec.ts';
import { postgresUser } from '../../ops/setup/os-user.ts';
import { startLocalCluster } from '../support/local-cluster.ts';
import { freePorts } from '../support/ports.ts';
import { stopProcess } from '../support/server-process.ts';
import type { Side, Suite, Target } from './suite.ts';

export interface RunningTarget {
  readonly target: Target;
  /** What the cluster's processes said, for the folder of the output. */
  log(): string;
  /** Why what was seen is no proof: the leader changed though nobody asked for it. Null: it did not. */
  disturbed(): Promise<string | null>;
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';
const SUPERUSER = { user: 'postgres', password: 'postgres' };
const APP = { user: 'app', password: 'app', database: 'app' } as const;
/** Followers replay this late: a read that is routed too freely misses what its session wrote. */
const APPLY_DELAY = 'agent.postgres.parameters.recovery_min_apply_delay=200ms';

/** A suite looks for differences, not for how long a busy machine lets an agent wait: only those who ask change the leader. */
const CALM = { LEASEHOLD_CLUSTER_TTL_MS: '20000' };

export function startTarget(side: Side, suite: Suite, output: string): Promise<RunningTarget> {
  makeFolder(output);
  return side === 'direct' ? startDirect(output) : startProxied(side, suite, output);
}

/** An empty folder that PostgreSQL's user owns: servers and clients of the suites run as that user. */
export function makeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const user = postgresUser();
  if (user !== null) chownSync(folder, user.uid, user.gid);
}

/** PostgreSQL's programs in the environment of a child: its libraries where they are not the system's. */
export function postgresEnv(): NodeJS.ProcessEnv {
  const libDir = process.env['LEASEHOLD_PG_LIB'];
  return { ...process.env, LC_ALL: 'C.UTF-8', ...(libDir === undefined ? {} : { LD_LIBRARY_PATH: libDir }) };
}

/** A program of PostgreSQL, or one beside them. */
export function postgresProgram(name: string): string {
  return join(process.env['LEASEHOLD_PG_BIN'] ?? '', name);
}

/** uid and gid of PostgreSQL's user, for spawn; nothing when this process is no root. */
export function asPostgres(): { uid?: number; gid?: number } {
  const user = postgresUser();
  return user === null ? {} : { uid: user.uid, gid: user.gid };
}

async function startDirect(output: string): Promise<RunningTarget> {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-direct-'));
  makeFolder(folder);
  const data = join(folder, 'data');
  await initialise(data, folder);
  const [port] = (await freePorts(1)) as [number];
  // The sizes of a local cluster; everything else is PostgreSQL's own default.
  const settings = [`port=${port}`, `listen_addresses=${HOST}`, `unix_socket_directories=${folder}`];
  const sizes = ['max_connections=200', 'shared_buffers=64MB', 'max_wal_size=512MB'];
  const logFile = openSync(join(output, 'server.log'), 'a');
  const server = spawn(
    postgresProgram('postgres'),
    ['-D', data, ...[...settings, ...sizes].flatMap((s) => ['-c', s])],
    {
      stdio: ['ignore', logFile, logFile],
      env: postgresEnv(),
      cwd: folder,
      ...asPostgres(),
    },
  );
  const stop = async (): Promise<void> => {
    await stopProcess(server, 'SIGINT', data);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await createApp(port);
  } catch (error) {
    await stop();
    throw error;
  }
  const nothing = async (): Promise<void> => {};
  return {
    target: { kind: 'direct', side: 'direct', ...common(port, output), switchover: nothing, crash: nothing },
    log: () => '',
    disturbed: async () => null,
    stop,
  };
}

async function initialise(data: string, folder: string): Promise<void> {
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, `${SUPERUSER.password}\n`);
  // As an agent does, but for the superuser's name.
  const common = ['--encoding=UTF8', '--locale=C.UTF-8', '--data-checksums', '--auth=scram-sha-256'];
  const how = [...common, `--username=${SUPERUSER.user}`, `--pwfile=${passwordFile}`];
  const child = spawn(postgresProgram('initdb'), ['-D', data, ...how], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: postgresEnv(),
    cwd: folder,
    ...asPostgres(),
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`initdb ended with ${code}`);
}

async function createApp(port: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const client = new pg.Client({ host: HOST, port, ...SUPERUSER, database: 'postgres' });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query("CREATE ROLE app LOGIN PASSWORD 'app'");
      await client.query('CREATE DATABASE app OWNER app');
      await client.end();
      return;
    } catch (error) {
      await client.end().catch(() => {});
      const { code } = error as { code?: string };
      if ((code !== 'ECONNREFUSED' && code !== '57P03') || performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

async function startProxied(side: Side, suite: Suite, output: string): Promise<RunningTarget> {
  const pooling = side === 'session' ? { LEASEHOLD_PROXY_POOL_MODE: 'session' } : {};
  const settings = { ...CALM, ...pooling, ...suite.settings };
  const cluster = await startLocalCluster(settings, ['--set', APPLY_DELAY]);
  let asked = (await cluster.status()).term;
  const switchover = async (): Promise<void> => {
    const { status, output: said } = await cluster.cli('switchover');
    asked += 1;
    if (status !== 0) throw new Error(`switchover ended with ${status}: ${said.trim()}`);
  };
  const crash = async (): Promise<void> => {
    const { postgresPid } = await cluster.leader();
    if (postgresPid === null) throw new Error('the leader tells no postmaster');
    asked += 1;
    process.kill(postgresPid, 'SIGKILL');
  };
  return {
    target: { kind: 'proxy', side, ...common(cluster.port, output), switchover, crash },
    log: () => cluster.output(),
    disturbed: async () => {
      const { term } = await cluster.status();
      return term <= asked ? null : `the leader changed ${term - asked} times unasked: was the machine too busy?`;
    },
    stop: async () => {
      await exec('cp', ['-r', join(cluster.dir, 'cluster', 'log'), join(output, 'cluster-log')]);
      const nodes = join(cluster.dir, 'cluster', 'nodes');
      for (const node of ['node1', 'node2', 'node3']) {
        await exec('cp', [join(nodes, node, 'data.leasehold', 'postgres.log'), join(output, `${node}.log`)]);
      }
      await cluster.stop();
    },
  };
}

function common(port: number, output: string): Pick<Target, 'host' | 'port' | 'superuser' | 'app' | 'output'> {
  chmodSync(output, 0o755);
  return { host: HOST, port, superuser: SUPERUSER, app: APP, output };
}
