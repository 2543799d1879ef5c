import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { LeaseholdError } from '../../common/errors.ts';

export interface UnixSocketOptions {
  readonly folder: string;
  readonly port: number;
  /** Of the socket file, as of chmod. */
  readonly mode: number;
  /** A process that has the socket is replaced, not respected: it drains. */
  readonly takeOver: boolean;
  readonly backlog: number;
}

export interface UnixSocket {
  readonly server: Server;
  /** Removes the files, where they are still this process's. */
  remove(): Promise<void>;
}

/** Linux' sun_path, with its zero. */
const MAX_PATH_BYTES = 107;
const MAX_ATTEMPTS = 10;

/**
 * Listens on `<folder>/.s.PGSQL.<port>`, where libpq looks for it, with a lock file beside it as PostgreSQL makes one
 * (CreateLockFile of miscinit.c): the socket of a process that is gone is removed, that of a living one is not. Throws
 * LeaseholdError `PORT_IN_USE` or `LISTEN`. The caller closes the server, then calls `remove`.
 */
export async function listenOnUnixSocket(
  options: UnixSocketOptions,
  onConnection: (socket: Socket) => void,
): Promise<UnixSocket> {
  const path = join(options.folder, `.s.PGSQL.${options.port}`);
  if (Buffer.byteLength(path) + 12 > MAX_PATH_BYTES) {
    throw new LeaseholdError('LISTEN', `proxy.listen.unixSocketDir: the path ${path} is too long for a Unix socket`);
  }
  const lock = `${path}.lock`;
  try {
    await takeLock(lock, path, options);
    // Bound under another name: Node removes what it bound when it closes, and that must not be a successor's socket.
    const own = `${path}.${process.pid}`;
    await rm(own, { force: true });
    const server = await listen(own, options.backlog, onConnection);
    await chmod(own, options.mode);
    await rename(own, path);
    return { server, remove: () => removeOwn(lock, path) };
  } catch (error) {
    if (error instanceof LeaseholdError) throw error;
    throw new LeaseholdError(
      'LISTEN',
      `cannot listen on ${path} (proxy.listen.unixSocketDir): ${String(error)}`,
      error,
    );
  }
}

async function takeLock(lock: string, path: string, { folder, port, takeOver }: UnixSocketOptions): Promise<void> {
  const content = `${process.pid}\nleasehold\n${Math.floor(Date.now() / 1000)}\n${port}\n${folder}\n`;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    try {
      await writeFile(lock, content, { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = await ownerOf(lock);
    if (owner !== null && owner !== process.pid && isAlive(owner) && !takeOver) {
      throw new LeaseholdError(
        'PORT_IN_USE',
        `lock file ${lock} exists: process ${owner} uses the socket ${path}; choose another proxy.listen.port or unixSocketDir`,
      );
    }
    await rm(lock, { force: true });
  }
  throw new LeaseholdError('LISTEN', `cannot create the lock file ${lock}: others do so at the same moment`);
}

/** Null: gone meanwhile, or nothing that names a process. */
async function ownerOf(lock: string): Promise<number | null> {
  const text = await readFile(lock, 'utf8').catch(() => '');
  const pid = Math.abs(Number.parseInt(text, 10));
  return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function removeOwn(lock: string, path: string): Promise<void> {
  if ((await ownerOf(lock)) !== process.pid) return;
  await rm(path, { force: true });
  await rm(lock, { force: true });
}

function listen(path: string, backlog: number, onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer(onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, backlog }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined); // of accepting, as for TCP
      resolve(server);
    });
  });
}
