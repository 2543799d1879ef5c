import { existsSync, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { chmod, chown, open, rename, rm } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { PostgresEnvironmentError } from './errors.ts';
import { requireReachable, type RunAs } from './identity.ts';

/**
 * Where one node keeps what. Everything of ours lies in `<dataDir>.leasehold`, beside the data directory, because
 * pg_basebackup and pg_rewind copy whatever lies inside it from the other server.
 */
export interface NodeLayout {
  readonly dataDir: string;
  readonly sideDir: string;
  readonly configFile: string;
  readonly hbaFile: string;
  readonly identFile: string;
  readonly passFile: string;
  readonly logFile: string;
  /** Holds `initdb` or `rewind` while that is unfinished. */
  readonly markerFile: string;
  /** A clone in the making, and the data directory that a finished one replaced. */
  readonly cloneDir: string;
  readonly replacedDir: string;
  /** Data directories that forced failovers went on without, one folder each; nobody but an operator removes them. */
  readonly keptDir: string;
  readonly socketDir: string;
}

/** A Unix socket's path has at most 107 bytes; the server's own suffix is `/.s.PGSQL.65535.lock`. */
const MAX_SOCKET_DIR = 80;

export function layoutOf(dataDir: string): NodeLayout {
  const data = resolveLinks(resolve(dataDir));
  const side = `${data}.leasehold`;
  const near = join(side, 'run');
  const hash = createHash('sha256').update(data).digest('hex').slice(0, 16);
  return {
    dataDir: data,
    sideDir: side,
    configFile: join(side, 'postgresql.conf'),
    hbaFile: join(side, 'pg_hba.conf'),
    identFile: join(side, 'pg_ident.conf'),
    passFile: join(side, 'passfile'),
    logFile: join(side, 'postgres.log'),
    markerFile: join(side, 'unfinished'),
    cloneDir: join(side, 'clone'),
    replacedDir: join(side, 'replaced'),
    keptDir: join(side, 'kept'),
    socketDir: Buffer.byteLength(near) <= MAX_SOCKET_DIR ? near : join(tmpdir(), `leasehold-${hash}`),
  };
}

/** The kernel names a process's directory without symbolic links, so ours must be compared without them too. */
function resolveLinks(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(resolveLinks(parent), basename(path));
}

/** Makes the folders beside the data directory, reachable by PostgreSQL's user and by nobody else. */
export async function prepareFolders(layout: NodeLayout, user: RunAs): Promise<void> {
  mkdirSync(dirname(layout.dataDir), { recursive: true });
  requireReachable(layout.dataDir, user);
  for (const folder of [layout.sideDir, layout.socketDir]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const stat = lstatSync(folder);
    // The socket folder may lie in a directory that all users share: somebody else could have made it first.
    if (!stat.isDirectory() || (stat.uid !== user.uid && stat.uid !== process.getuid?.())) {
      throw new PostgresEnvironmentError(`${folder} is not a folder of ours: remove it`);
    }
    await chmod(folder, 0o700);
    await handOver(folder, user);
  }
}

export async function handOver(path: string, user: RunAs): Promise<void> {
  if (user.switchUser) await chown(path, user.uid, user.gid);
}

/** Replaces a file so that after a power loss either the old or the new content is there. Mode 0600, PostgreSQL's user. */
export async function writeFileDurably(path: string, content: string, user: RunAs): Promise<void> {
  await replaceFile(path, content, user, true);
  await syncFolder(dirname(path));
}

/** The same without waiting for the disk: readers see either content; for files that are written anew at each start. */
export async function writeFileAtomically(path: string, content: string, user: RunAs): Promise<void> {
  await replaceFile(path, content, user, false);
}

async function replaceFile(path: string, content: string, user: RunAs, durable: boolean): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(content);
    if (user.switchUser) await file.chown(user.uid, user.gid);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

export async function removeDurably(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await syncFolder(dirname(path));
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
