import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { exec, type ExecResult } from '../../ops/setup/exec.ts';
import { hasDebianTools, writeAptConfig } from '../../ops/setup/debian.ts';
import { installPackages } from './debian-packages.ts';
import { postgresProgram } from './targets.ts';

/** PostgreSQL's own tests: the unpacked source of the server's version, and the library that its tests load. */
export interface PostgresSource {
  /** The root of the source tree. */
  readonly tree: string;
  /** A folder with `regress.so`, `autoinc.so`, `refint.so`, for `pg_regress --dlpath`. */
  readonly libraries: string;
  /** Folder below `lib/pgxs` with `pg_regress` and `isolationtester`. */
  readonly testPrograms: string;
}

/** Where the source is, from the work folder of any suite: all share it. */
export function sourceOf(work: string): PostgresSource {
  const folder = join(dirname(work), 'postgres-source');
  return {
    tree: join(folder, 'tree'),
    libraries: join(folder, 'libraries'),
    testPrograms: postgresProgram('../lib/pgxs/src/test'),
  };
}

/**
 * Fetches the source package of the installed version (else the newest that there is of its major version) with apt's
 * signature checks and lists of our own, and builds `regress.so`. Null when all is there, else what is lacking.
 */
export async function prepareSource(work: string): Promise<string | null> {
  const source = sourceOf(work);
  const programs = ['regress/pg_regress', 'isolation/isolationtester', 'isolation/pg_isolation_regress'];
  const lacking = programs.filter((program) => !existsSync(join(source.testPrograms, program)));
  if (lacking.length > 0) return `${lacking.join(', ')} not below ${source.testPrograms} (in Debian's server package)`;
  if (existsSync(join(source.libraries, 'regress.so'))) return null;
  if (!hasDebianTools()) return 'the source is fetched with apt-get, which this system lacks';
  const hasCompiler = (await exec('cc', ['--version'])).code === 0;
  const why = await installPackages([...(hasCompiler ? [] : ['gcc', 'libc6-dev']), 'bzip2', 'xz-utils']);
  if (why !== null) return why;
  const folder = dirname(source.tree);
  const apt = join(folder, 'apt');
  try {
    mkdirSync(folder, { recursive: true });
    const fetched = join(apt, 'downloads');
    const version = await fetchSource(apt, fetched);
    rmSync(source.tree, { recursive: true, force: true });
    const tree = readdirSync(fetched).find((name) => existsSync(join(fetched, name, 'src/test/regress')));
    if (tree === undefined) throw new Error('the source package holds no src/test/regress');
    renameSync(join(fetched, tree), source.tree);
    await buildLibraries(source, join(fetched, 'headers'));
    writeFileSync(join(folder, 'version'), `${version}\n`);
    return null;
  } catch (error) {
    return (error as Error).message;
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
}

async function fetchSource(apt: string, folder: string): Promise<string> {
  const installed = (await must(exec(postgresProgram('postgres'), ['--version']))).stdout;
  const wanted = /\(\S+ (\S+)\)/.exec(installed)?.[1] ?? '';
  const major = /(\d+)[.\w]+/.exec(installed)?.[1] ?? '';
  const config = writeAptConfig(apt, sourceLists(join(apt, 'sources')));
  const run = (tool: string, ...args: string[]) => exec(tool, ['-c', config, '-q', ...args], { cwd: folder });
  // A repository without sources makes this fail and the others count all the same.
  await run('apt-get', 'update');
  const shown = (await must(run('apt-cache', 'showsrc', `postgresql-${major}`))).stdout;
  const versions = [...shown.matchAll(/^Version: (\S+)$/gm)].map((match) => match[1] ?? '');
  const version = versions.includes(wanted) ? wanted : (versions.sort().at(-1) ?? '');
  await must(run('apt-get', '--tar-only', '--download-only', 'source', `postgresql-${major}=${version}`));
  const archive = readdirSync(folder).find((name) => /\.orig\.tar\.\w+$/.test(name)) ?? '';
  await must(exec('tar', ['-xf', archive], { cwd: folder }));
  await must(run('apt-get', 'download', `postgresql-server-dev-${major}=${version}`));
  const headers = readdirSync(folder).find((name) => /^postgresql-server-dev.*\.deb$/.test(name)) ?? '';
  await must(exec('dpkg', ['-x', headers, 'headers'], { cwd: folder }));
  return version;
}

/** The system's package sources, each asked for source packages too. Returns the lines of apt's configuration for them. */
function sourceLists(folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  const parts = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
  ];
  for (const file of files.filter((name) => existsSync(name))) {
    const text = readFileSync(file, 'utf8');
    const both = file.endsWith('.sources')
      ? text.replaceAll(/^Types:.*$/gm, 'Types: deb deb-src')
      : text.replaceAll(/^deb (.*)$/gm, 'deb $1\ndeb-src $1');
    writeFileSync(join(folder, basename(file)), both);
  }
  return ['Dir::Etc::sourcelist "/dev/null";', `Dir::Etc::sourceparts "${folder}";`];
}

async function buildLibraries(source: PostgresSource, headers: string): Promise<void> {
  rmSync(source.libraries, { recursive: true, force: true });
  mkdirSync(source.libraries, { recursive: true });
  for (const name of ['autoinc.so', 'refint.so']) {
    const module = postgresProgram(`../lib/${name}`);
    if (existsSync(module)) await must(exec('cp', [module, source.libraries]));
  }
  const base = join(headers, 'usr/include/postgresql');
  const [version] = readdirSync(base).filter((name) => existsSync(join(base, name, 'server')));
  const regress = join(source.tree, 'src/test/regress/regress.c');
  const unfinished = join(source.libraries, 'regress.unfinished');
  const include = ['-I', join(base, version ?? '', 'server'), '-I', base];
  await must(exec('cc', ['-shared', '-fPIC', '-O1', '-w', ...include, '-o', unfinished, regress]));
  renameSync(unfinished, join(source.libraries, 'regress.so'));
}

async function must(running: Promise<ExecResult>): Promise<ExecResult> {
  const result = await running;
  if (result.code !== 0) throw new Error(result.stderr.trim().split('\n').slice(-4).join('\n'));
  return result;
}
