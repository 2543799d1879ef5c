import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A PostgreSQL server of its own in a temporary folder; superuser `postgres`/`postgres`, every host by SCRAM. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly folder: string;
  readonly pid: number;
  /** Runs psql as the superuser over the server's socket. */
  sql(text: string): Promise<string>;
  stop(): Promise<void>;
}

export async function postgresBinDir(): Promise<string | null> {
  const given = process.env['LEASEHOLD_PG_BIN'];
  if (given !== undefined) return given;
  const versions = await readdir('/usr/lib/postgresql').catch(() => []);
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? null : join('/usr/lib/postgresql', newest, 'bin');
}

export async function startServer(binDir: string, settings: readonly string[] = []): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-login-'));
  const identity = await unprivileged(folder);
  const data = join(folder, 'data');
  const port = await freePort();
  const password = join(folder, 'password');
  await run('sh', ['-c', 'printf postgres > "$0"', password], identity);
  const initdb = ['-D', data, '-U', 'postgres', '--auth-local=trust', '--auth-host=scram-sha-256', '--no-sync'];
  await run(join(binDir, 'initdb'), [...initdb, '--encoding=UTF8', '--locale=C', `--pwfile=${password}`], identity);
  const options = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    `unix_socket_directories=${folder}`,
    'fsync=off',
    ...settings,
  ];
  const server = spawn(join(binDir, 'postgres'), ['-D', data, ...options.flatMap((option) => ['-c', option])], {
    ...identity,
    stdio: 'ignore',
  });
  const sql = async (text: string): Promise<string> => {
    const args = ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', folder, '-p', String(port), '-U', 'postgres', '-c', text];
    return (await run('psql', args)).stdout.trim();
  };
  for (let i = 0; ; i++) {
    if (await sql('select 1').catch(() => null)) break;
    if (i > 200 || server.exitCode !== null) throw new Error('PostgreSQL did not start');
    await sleep(50);
  }
  const stop = (): Promise<void> => stopProcess(server, 'SIGINT');
  return {
    port,
    folder,
    pid: server.pid as number,
    sql,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root. */
async function unprivileged(folder: string): Promise<{ uid?: number; gid?: number; cwd: string }> {
  if (process.getuid?.() !== 0) return { cwd: folder };
  const uid = Number((await run('id', ['-u', 'postgres'])).stdout);
  const gid = Number((await run('id', ['-g', 'postgres'])).stdout);
  await chown(folder, uid, gid);
  return { uid, gid, cwd: folder };
}

async function stopProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  await exited;
}

async function freePort(): Promise<number> {
  await using listener = await listen(() => {});
  return listener.port;
}

export interface Listener extends AsyncDisposable {
  readonly port: number;
}

/** A TCP server on a free port; closing it cuts its connections off. */
export async function listen(onSocket: (socket: Socket) => void): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function command(
  file: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(file, args, { env: { ...process.env, ...env }, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
    });
  });
}
