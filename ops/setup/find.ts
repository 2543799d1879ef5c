import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { exec } from './exec.ts';

/** A PostgreSQL installation: the folder of its programs, and of its libraries where they are not the system's. */
export interface PostgresInstall {
  readonly binDir: string;
  readonly libDir: string | null;
  readonly version: string;
}

export interface EtcdInstall {
  readonly program: string;
  readonly version: string;
}

export const MIN_POSTGRES = 15;
const PROGRAMS = ['postgres', 'initdb', 'pg_basebackup', 'pg_rewind', 'pg_controldata'];

/**
 * The PostgreSQL to use: `LEASEHOLD_PG_BIN`, the PATH's, then the newest of the usual folders. `problems` tells, for
 * people, what was found and could not be used.
 */
export async function findPostgres(
  env: NodeJS.ProcessEnv,
  folders: readonly string[] = usualFolders(),
  major: number | null = null,
): Promise<{ readonly install: PostgresInstall | null; readonly problems: readonly string[] }> {
  const problems: string[] = [];
  const named = env['LEASEHOLD_PG_BIN'];
  const libDir = env['LEASEHOLD_PG_LIB'] ?? null;
  const candidates = named === undefined ? [...pathFolders(env, 'postgres'), ...folders] : [named];
  for (const binDir of new Set(candidates)) {
    const install = await probePostgres(binDir, libDir);
    if (typeof install !== 'string') {
      if (major === null || Number.parseInt(install.version, 10) === major) return { install, problems };
      problems.push(`${binDir} is PostgreSQL ${install.version}; the data need ${major}`);
    } else if (named !== undefined || existsSync(join(binDir, 'postgres'))) {
      problems.push(install);
    }
  }
  return { install: null, problems };
}

/** The installation in a folder, or why it cannot be used. */
export async function probePostgres(binDir: string, libDir: string | null): Promise<PostgresInstall | string> {
  const missing = PROGRAMS.filter((program) => !existsSync(join(binDir, program)));
  if (missing.length > 0) return `${binDir} has no ${missing.join(', ')}`;
  const env = libDir === null ? process.env : { ...process.env, LD_LIBRARY_PATH: libDir };
  const answer = await exec(join(binDir, 'postgres'), ['--version'], { env, timeoutMs: 20_000 });
  const version = /(\d+)(\.\d+|devel|beta\d+|rc\d+)/.exec(answer.stdout);
  if (answer.code !== 0 || version === null) {
    return `${binDir}/postgres does not run: ${answer.stderr.trim().slice(0, 300)}`;
  }
  if (Number(version[1]) < MIN_POSTGRES) {
    return `${binDir} is PostgreSQL ${version[0]}; ${MIN_POSTGRES} or newer is needed`;
  }
  return { binDir, libDir, version: version[0] };
}

export async function findEtcd(env: NodeJS.ProcessEnv, further: readonly string[] = []): Promise<EtcdInstall | null> {
  const named = env['LEASEHOLD_ETCD_BIN'];
  const onPath = pathFolders(env, 'etcd').map((folder) => join(folder, 'etcd'));
  for (const program of named === undefined ? [...onPath, ...further] : [named]) {
    const answer = await exec(program, ['--version'], { timeoutMs: 20_000 });
    const version = /etcd Version: (\S+)/.exec(answer.stdout);
    if (answer.code === 0 && version?.[1] !== undefined) return { program, version: version[1] };
  }
  return null;
}

/** Newest first. */
export function usualFolders(root = '/'): string[] {
  const roots: [string, (name: string) => string][] = [
    [join(root, 'usr/lib/postgresql'), (name) => `${name}/bin`],
    [join(root, 'usr'), (name) => (name.startsWith('pgsql-') ? `${name}/bin` : '')],
    [join(root, 'opt/homebrew/opt'), (name) => (name.startsWith('postgresql@') ? `${name}/bin` : '')],
  ];
  const found: { version: number; folder: string }[] = [];
  for (const [base, within] of roots) {
    for (const name of listFolder(base)) {
      const version = Number(/(\d+)$/.exec(name)?.[1] ?? 0);
      const relative = within(name);
      if (version > 0 && relative !== '') found.push({ version, folder: join(base, relative) });
    }
  }
  return found.sort((a, b) => b.version - a.version).map(({ folder }) => folder);
}

/** Folders of the PATH with this program, links resolved: PostgreSQL's programs look for each other beside themselves. */
function pathFolders(env: NodeJS.ProcessEnv, program: string): string[] {
  const folders: string[] = [];
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder, program);
    if (folder !== '' && existsSync(file)) folders.push(dirname(realpathSync(file)));
  }
  return folders;
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
