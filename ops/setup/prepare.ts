import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LeaseholdError } from '../../common/errors.ts';
import { cacheFolder } from '../paths.ts';
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

  refuseNamed(system, { postgres, etcd }, problems);
  const cache = programsFolder(options);
  const major = options.major ?? null;
  postgres ??= await cachedPostgres(cache, major);
  etcd ??= await cachedEtcd(cache);
  if (postgres === null && major !== null && (await cachedPostgres(cache, null)) !== null) {
    throw new LeaseholdError('SETUP', wrongMajor(major, problems));
  }
  if (postgres !== null && etcd !== null) return { postgres, etcd };
  for (const problem of problems) options.report(`(not usable: ${problem})`);
  await fetch({ postgres: postgres === null, etcd: etcd === null }, cache, options);
  postgres ??= await cachedPostgres(cache, major);
  etcd ??= await cachedEtcd(cache);
  if (postgres === null || etcd === null) {
    const what = postgres === null ? POSTGRES : 'etcd';
    const needed = major === null ? '' : ` The data here need PostgreSQL ${major}.`;
    throw new LeaseholdError(
      'SETUP',
      `${what}, unpacked into ${cache}, is not usable here.${needed}\n${instruction(what)}`,
    );
  }
  return { postgres, etcd };
}

const POSTGRES = `PostgreSQL ${MIN_POSTGRES} or newer`;

/** What somebody named is used or refused, never silently replaced. */
function refuseNamed(
  env: NodeJS.ProcessEnv,
  found: { readonly postgres: PostgresInstall | null; readonly etcd: EtcdInstall | null },
  problems: readonly string[],
): void {
  if (env['LEASEHOLD_PG_BIN'] !== undefined && found.postgres === null) {
    throw new LeaseholdError('SETUP', `LEASEHOLD_PG_BIN: ${problems.join('; ')}`);
  }
  if (env['LEASEHOLD_ETCD_BIN'] !== undefined && found.etcd === null) {
    throw new LeaseholdError('SETUP', `LEASEHOLD_ETCD_BIN: ${env['LEASEHOLD_ETCD_BIN']} is no etcd that runs here`);
  }
}

async function fetch(
  what: { postgres: boolean; etcd: boolean },
  cache: string,
  options: PrepareOptions,
): Promise<void> {
  const title = [...(what.postgres ? [POSTGRES] : []), ...(what.etcd ? ['etcd'] : [])].join(' and ');
  const are = what.postgres && what.etcd ? 'are' : 'is';
  if (!hasDebianTools())
    throw new LeaseholdError('SETUP', `${title} ${are} not on this machine.\n${instruction(title)}`);
  const folder = join(cache, treeNames(what));
  options.report(`${title} ${are} not on this machine: fetching from the distribution's packages into ${folder}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  try {
    const signal = options.signal === undefined ? {} : { signal: options.signal };
    await unpackFromDebian({ folder, ...what, report: options.report, ...signal });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new LeaseholdError('SETUP', `${title}: ${(error as Error).message}\n${instruction(title)}`, error);
  }
}

/** What was fetched together lies together. */
const TREES = { both: 'postgresql-etcd', postgres: 'postgresql', etcd: 'etcd' } as const;

function treeNames(what: { postgres: boolean; etcd: boolean }): string {
  return what.postgres && what.etcd ? TREES.both : what.postgres ? TREES.postgres : TREES.etcd;
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
  for (const name of [TREES.postgres, TREES.both]) {
    const tree = treeOf(join(cache, name));
    if (!existsSync(tree)) continue;
    const libraries = libraryPathOf(tree);
    const env = { PATH: '', ...(libraries === null ? {} : { LEASEHOLD_PG_LIB: libraries }) };
    const { install } = await findPostgres(env, usualFolders(tree), major);
    if (install !== null) return install;
  }
  return null;
}

function cachedEtcd(cache: string): Promise<EtcdInstall | null> {
  const programs = [TREES.etcd, TREES.both].map((name) => join(treeOf(join(cache, name)), 'usr/bin/etcd'));
  return findEtcd({ PATH: '' }, programs);
}

/** The cache; where PostgreSQL's own user cannot read that, a folder of the system's. */
function programsFolder(options: PrepareOptions): string {
  const own = cacheFolder(options.env);
  const isNamed = (options.env['LEASEHOLD_CACHE'] ?? '') !== '';
  return isNamed || options.osUser === null || isReachable(own, options.osUser) ? own : '/var/cache/leasehold';
}
