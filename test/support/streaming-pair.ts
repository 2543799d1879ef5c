import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePorts } from './ports.ts';

const run = promisify(execFile);

export interface PairServer {
  readonly name: string;
  readonly port: number;
  /** psql over the server's socket, as the superuser. */
  sql(text: string): Promise<string>;
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
  start(): Promise<void>;
  promote(): Promise<void>;
}

/**
 * A leader (`node1`) and a follower (`node2`) streaming from it, without agents. Role `monitor`/`monitor` has pg_monitor
 * and nothing else, as an agent would make it.
 */
export interface StreamingPair extends AsyncDisposable {
  readonly leader: PairServer;
  readonly follower: PairServer;
}

export async function startStreamingPair(): Promise<StreamingPair> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-pair-'));
  const place = { folder, binDir: await findBinDir(), identity: await unprivileged(folder) };
  const servers: TestPostgres[] = [];
  const dispose = async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const [port1 = 0, port2 = 0] = await freePorts(2);
    const leader = new TestPostgres(place, 'node1', port1);
    servers.push(leader);
    const initdb = ['-D', leader.data, '-U', 'postgres', '--auth-local=trust', '--auth-host=scram-sha-256'];
    await run(join(place.binDir, 'initdb'), [...initdb, '--no-sync', '--encoding=UTF8', '--locale=C'], place.identity);
    await leader.start();
    await leader.sql(
      "CREATE ROLE monitor LOGIN PASSWORD 'monitor'; GRANT pg_monitor TO monitor; CREATE TABLE t (n int)",
    );
    const follower = new TestPostgres(place, 'node2', port2);
    servers.push(follower);
    const from = `host=${folder} port=${port1} user=postgres application_name=node2`;
    const clone = ['-D', follower.data, '-R', '-c', 'fast', '--no-sync', '-d', from];
    await run(join(place.binDir, 'pg_basebackup'), clone, place.identity);
    await follower.start();
    return { leader, follower, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

interface Place {
  readonly folder: string;
  readonly binDir: string;
  readonly identity: { readonly uid?: number; readonly gid?: number };
}

class TestPostgres implements PairServer {
  readonly name: string;
  readonly port: number;
  readonly data: string;
  readonly #place: Place;
  #child: ChildProcess | null = null;

  constructor(place: Place, name: string, port: number) {
    this.#place = place;
    this.name = name;
    this.port = port;
    this.data = join(place.folder, name);
  }

  async sql(text: string): Promise<string> {
    const where = ['-h', this.#place.folder, '-p', String(this.port), '-U', 'postgres', '-d', 'postgres'];
    return (await run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...where, '-c', text])).stdout.trim();
  }

  async start(): Promise<void> {
    const { folder, binDir, identity } = this.#place;
    const settings = [
      `port=${this.port}`,
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${folder}`,
      'fsync=off',
      'wal_level=replica',
      'shared_buffers=16MB',
      'autovacuum=off',
      'wal_receiver_status_interval=1s',
      'wal_retrieve_retry_interval=200ms',
    ];
    const args = ['-D', this.data, ...settings.flatMap((setting) => ['-c', setting])];
    this.#child = spawn(join(binDir, 'postgres'), args, { ...identity, stdio: 'ignore' });
    for (let attempt = 0; ; attempt++) {
      if ((await this.sql('SELECT 1').catch(() => null)) === '1') return;
      if (attempt > 200 || this.#child.exitCode !== null) throw new Error(`PostgreSQL ${this.name} did not start`);
      await sleep(50);
    }
  }

  /** The postmaster and what it started, so that nothing of the server answers. */
  pause(): void {
    this.#signalAll('SIGSTOP');
  }

  resume(): void {
    this.#signalAll('SIGCONT');
  }

  /** SIGQUIT: ends as in a crash, but takes its children along. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    this.resume();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGQUIT');
    await ended;
  }

  async promote(): Promise<void> {
    await run(join(this.#place.binDir, 'pg_ctl'), ['promote', '-w', '-D', this.data], { ...this.#place.identity });
  }

  #signalAll(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    // PostgreSQL's children are in sessions of their own: found by their parent, not by a group.
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
    for (const each of [pid, ...children]) process.kill(each, signal);
  }
}

async function findBinDir(): Promise<string> {
  const given = process.env['LEASEHOLD_PG_BIN'];
  if (given !== undefined) return given;
  const versions = await readdir('/usr/lib/postgresql').catch(() => []);
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new Error('PostgreSQL is missing (LEASEHOLD_PG_BIN names its folder)');
  return join('/usr/lib/postgresql', newest, 'bin');
}

/** PostgreSQL refuses to run as root: the user `postgres` then. */
async function unprivileged(folder: string): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, 'postgres'])).stdout)),
  );
  await chown(folder, uid as number, gid as number);
  await chmod(folder, 0o755);
  return { uid: uid as number, gid: gid as number };
}
