import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { LeaseholdError } from '../../common/errors.ts';
import { isCheckout, packageRoot } from '../paths.ts';
import { hasDebianTools, libraryPathOf, treeOf, unpackFromDebian } from './debian.ts';
import { type EtcdInstall, findEtcd, findPostgres, MIN_POSTGRES, type PostgresInstall, usualFolders } from './find.ts';
import { isReachable, type OsUser } from './os-user.ts';

export interface PrepareOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Who runs PostgreSQL; null: this process's own user. Must be able to read the programs. */
  readonly osUser: OsUser | null;
  /** The major version that existing data need; null: any. */
  readonly major?: number | null;
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface Programs {
  readonly postgres: PostgresInstall;
  readonly etcd: EtcdInstall;
}

/**
 * PostgreSQL and etcd, found on this machine or fetched from Debian's packages into the cache. Throws `SETUP` with
 * what to do where neither is possible. `LEASEHOLD_IGNORE_SYSTEM=1` acts as if nothing were installed.
 */
export async function preparePrograms(options: PrepareOptions): Promise<Programs> {
  const ignoreSystem = options.env['LEASEHOLD_IGNORE_SYSTEM'] === '1';
  const system = ignoreSystem ? { PATH: '' } : options.env;
  const { install, problems } = await findPostgres(system, ignoreSystem ? [] : usualFolders(), options.major ?? null);
  let postgres = install;
  let etcd = await findEtcd(system);
  if (postgres !== null && etcd !== null) return { postgres, etcd };

  const cache = cacheFolder(options);
  postgres ??= await cachedPostgres(cache, options.major ?? null);
  etcd ??= await cachedEtcd(cache);
  if (postgres === null && typeof options.major === 'number' && existsSync(treeOf(join(cache, 'postgresql')))) {
    throw new LeaseholdError('SETUP', wrongMajor(options.major, problems));
  }
  if (postgres === null) await fetch('postgresql', cache, problems, options);
  if (etcd === null) await fetch('etcd', cache, [], options);
  postgres ??= await cachedPostgres(cache, options.major ?? null);
  etcd ??= await cachedEtcd(cache);
  if (postgres === null || etcd === null) {
    const what = postgres === null ? 'PostgreSQL' : 'etcd';
    throw new LeaseholdError('SETUP', `the unpacked ${what} in ${cache} does not run here.\n${instruction(what)}`);
  }
  return { postgres, etcd };
}

async function fetch(
  what: 'postgresql' | 'etcd',
  cache: string,
  problems: readonly string[],
  options: PrepareOptions,
): Promise<void> {
  const title = what === 'etcd' ? 'etcd' : `PostgreSQL ${MIN_POSTGRES} or newer`;
  for (const problem of problems) options.report(`  (not usable: ${problem})`);
  if (!hasDebianTools()) throw new LeaseholdError('SETUP', `${title} is not on this machine.\n${instruction(title)}`);
  options.report(
    `${title} is not on this machine: fetching it from the distribution's packages into ${join(cache, what)}`,
  );
  mkdirSync(join(cache, what), { recursive: true, mode: 0o755 });
  try {
    await unpackFromDebian({
      folder: join(cache, what),
      postgres: what === 'postgresql',
      etcd: what === 'etcd',
      report: options.report,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new LeaseholdError('SETUP', `${title}: ${(error as Error).message}\n${instruction(title)}`, error);
  }
}

function instruction(what: string): string {
  return [
    `Install ${what} yourself, then run this again:`,
    '  Debian, Ubuntu   apt-get install postgresql etcd-server',
    '  Fedora, RHEL     dnf install postgresql-server postgresql-contrib etcd',
    '  macOS            brew install postgresql@17 etcd',
    'or name what you have: LEASEHOLD_PG_BIN=/folder/of/postgres/programs LEASEHOLD_ETCD_BIN=/path/to/etcd',
  ].join('\n');
}

function wrongMajor(major: number, problems: readonly string[]): string {
  const found = problems.map((problem) => `\n  ${problem}`).join('');
  return `the data here were made by PostgreSQL ${major}, which is not on this machine any more:${found}\nInstall it again, or begin anew in another folder with --dir`;
}

async function cachedPostgres(cache: string, major: number | null): Promise<PostgresInstall | null> {
  const tree = treeOf(join(cache, 'postgresql'));
  if (!existsSync(tree)) return null;
  const libraries = libraryPathOf(tree);
  const env = { PATH: '', ...(libraries === null ? {} : { LEASEHOLD_PG_LIB: libraries }) };
  return (await findPostgres(env, usualFolders(tree), major)).install;
}

function cachedEtcd(cache: string): Promise<EtcdInstall | null> {
  return findEtcd({ PATH: '' }, [join(treeOf(join(cache, 'etcd')), 'usr/bin/etcd')]);
}

/** `.cache` of a checkout, `~/.cache/leasehold` of an installed package; where PostgreSQL's user cannot read those, the system's. */
function cacheFolder(options: PrepareOptions): string {
  const named = options.env['LEASEHOLD_CACHE'];
  if (named !== undefined && named !== '') return named;
  const own = isCheckout
    ? join(packageRoot, '.cache')
    : join(options.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'leasehold');
  return options.osUser === null || isReachable(own, options.osUser) ? own : '/var/cache/leasehold';
}
