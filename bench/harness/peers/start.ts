import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { postgresUser } from '../../../ops/setup/os-user.ts';
import {
  haproxyConfig,
  odysseyConfig,
  type PeerPlan,
  pgbouncerConfig,
  pgbouncerUsers,
  pgpoolConfig,
} from './config.ts';
import type { Peers } from './fetch.ts';

export type PeerName = 'pgbouncer' | 'odyssey' | 'haproxy' | 'pgpool';

export interface RunningPeer {
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  readonly config: string;
  stop(): Promise<void>;
}

const KINDS = {
  pgbouncer: { package: 'pgbouncer', program: 'usr/sbin/pgbouncer', config: pgbouncerConfig, args: [] },
  odyssey: { package: 'odyssey', program: 'usr/bin/odyssey', config: odysseyConfig, args: [] },
  haproxy: { package: 'haproxy', program: 'usr/sbin/haproxy', config: haproxyConfig, args: ['-db', '-f'] },
  pgpool: { package: 'pgpool2', program: 'usr/sbin/pgpool', config: pgpoolConfig, args: ['-n', '-f'] },
} as const;

/** Starts a peer as one program on one port of 127.0.0.1. Rejects with the end of its log when it does not serve within 20 s. */
export async function startPeer(name: PeerName, plan: PeerPlan, peers: Peers): Promise<RunningPeer> {
  const kind = KINDS[name];
  mkdirSync(plan.folder, { recursive: true });
  const config = kind.config(plan);
  const file = join(plan.folder, `${name}.conf`);
  writeFileSync(file, config);
  if (name === 'pgbouncer') writeFileSync(join(plan.folder, 'users.txt'), pgbouncerUsers(plan));
  if (name === 'pgpool') writeFileSync(join(plan.folder, 'pool_passwd'), 'app:TEXTapp\n');
  const [program, ...args] = peers.command(kind.program);
  // PgBouncer refuses to run as root; the others do not need it either.
  const user = postgresUser();
  if (user !== null) chownSync(plan.folder, user.uid, user.gid);
  chmodSync(plan.folder, 0o755);
  const extra = name === 'pgpool' ? ['-a', join(plan.folder, 'none'), '-F', join(plan.folder, 'none')] : [];
  const child = spawn(program, [...args, ...kind.args, file, ...extra], {
    cwd: plan.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PGPOOLKEYFILE: join(plan.folder, 'none') },
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  const logFile = join(plan.folder, 'log');
  const log = createWriteStream(logFile);
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  child.on('error', () => undefined); // shows as a peer that does not serve
  const stop = (): Promise<void> => stopProcess(child);
  try {
    await untilItServes(plan.port, child);
  } catch (error) {
    await stop();
    throw new Error(
      `${name} does not serve: ${(error as Error).message}\n${readFileSync(logFile, 'utf8').slice(-1500)}`,
    );
  }
  return { port: plan.port, pid: child.pid as number, version: peers.versions.get(kind.package) ?? '?', config, stop };
}

export async function untilItServes(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'app', password: 'app', database: 'app' });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('SELECT 1');
      return;
    } catch (error) {
      if (child.exitCode !== null || performance.now() > deadline) throw error;
      await sleep(100);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(timer);
}
