import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LeaseholdError } from '../../common/errors.ts';
import { exec } from './exec.ts';

/**
 * PostgreSQL and etcd from the distribution's own packages without root and without touching the system: apt-get with
 * lists and caches of our own, then `dpkg -x` into a folder. apt checks the signatures, as ever.
 */
export interface UnpackOptions {
  /** Gets `tree/` (the unpacked packages) and, while it works, folders of this process's own. */
  readonly folder: string;
  readonly postgres: boolean;
  readonly etcd: boolean;
  /** A line of progress for people. */
  readonly report: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Where packages are unpacked to; complete once it exists. */
export function treeOf(folder: string): string {
  return join(folder, 'tree');
}

export async function unpackFromDebian(options: UnpackOptions): Promise<void> {
  await unpackPackages({
    ...options,
    choose: (search) => namesOf(search, options),
    isNeeded: isNeededLibrary,
    // Asked for even if it is installed: the server's version of it must fit, and another may be there.
    always: options.postgres ? ['libpq5'] : [],
  });
}

/** What a package search finds, by a regular expression of names. */
type Search = (pattern: string) => Promise<readonly string[]>;

export interface UnpackPackagesOptions extends Pick<UnpackOptions, 'folder' | 'report' | 'signal'> {
  readonly choose: (search: Search) => Promise<readonly string[]>;
  /** Of the packages that an installation would bring along, those that are unpacked too. */
  readonly isNeeded: (name: string) => boolean;
  readonly always?: readonly string[];
}

/** Any packages of this system's sources, with what they need and this system lacks. */
export async function unpackPackages(options: UnpackPackagesOptions): Promise<void> {
  const { folder, report } = options;
  const apt = join(folder, `apt.${process.pid}`);
  const startedMs = Date.now();
  rmSync(apt, { recursive: true, force: true });
  try {
    const configFile = writeAptConfig(apt);
    report('  reading the package lists …');
    await runApt('apt-get', configFile, ['update'], options);
    const names = await options.choose(async (pattern) => {
      const found = await runApt('apt-cache', configFile, ['search', '--names-only', pattern], options);
      return found.split('\n').map((line) => line.split(' ')[0] ?? '');
    });
    const packages = await withDependencies(configFile, names, options);
    report(`  downloading ${packages.length} packages (${names.join(', ')} and what they need) …`);
    const downloads = join(apt, 'downloads');
    await runApt('apt-get', configFile, ['download', ...packages], options, downloads);
    report('  unpacking …');
    await unpack(downloads, folder, options);
  } finally {
    rmSync(apt, { recursive: true, force: true });
  }
  report(`  done in ${((Date.now() - startedMs) / 1000).toFixed(0)} s`);
}

/** Whether this system has the tools for it. */
export function hasDebianTools(): boolean {
  return ['apt-get', 'apt-cache', 'dpkg'].every((tool) => existsSync(join('/usr/bin', tool)));
}

/** Library folders of a tree, for LD_LIBRARY_PATH. */
export function libraryPathOf(tree: string): string | null {
  const folders: string[] = [];
  for (const base of [join(tree, 'usr/lib'), join(tree, 'lib')]) {
    if (!existsSync(base)) continue;
    for (const name of readdirSync(base)) {
      if (/-linux-gnu/.test(name)) folders.push(join(base, name));
    }
  }
  return folders.length === 0 ? null : folders.join(':');
}

/** A configuration for apt whose lists and caches lie below `apt`; `further` are lines of it. Returns the file. */
export function writeAptConfig(apt: string, further: readonly string[] = []): string {
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'downloads']) {
    mkdirSync(join(apt, part), { recursive: true });
  }
  const file = join(apt, 'apt.conf');
  const lines = [
    `Dir::State "${join(apt, 'state')}";`,
    `Dir::Cache "${join(apt, 'cache')}";`,
    'Dir::State::status "/var/lib/dpkg/status";',
    'Debug::NoLocking "true";',
    // As root apt would drop to a user that cannot write here.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    // Hooks of the system are about the system.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear DPkg::Pre-Install-Pkgs;',
    '#clear DPkg::Post-Invoke;',
    ...further,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

async function namesOf(search: Search, options: UnpackOptions): Promise<string[]> {
  const names: string[] = [];
  const available = await search('^(postgresql-[0-9]+|etcd-server|etcd)$');
  if (options.postgres) {
    const versions = available.flatMap((name) => /^postgresql-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
    const newest = Math.max(...versions.filter((version) => version >= 15 && version <= 18));
    if (!Number.isFinite(newest))
      throw new LeaseholdError('SETUP', "this system's packages have no PostgreSQL 15 or newer");
    names.push(`postgresql-${newest}`, `postgresql-client-${newest}`);
  }
  if (options.etcd) {
    const name = ['etcd-server', 'etcd'].find((candidate) => available.includes(candidate));
    if (name === undefined) throw new LeaseholdError('SETUP', "this system's packages have no etcd");
    names.push(name);
  }
  return names;
}

/** The packages themselves and what the system lacks of their needs; nothing that only matters to an installation. */
async function withDependencies(
  configFile: string,
  names: readonly string[],
  options: UnpackPackagesOptions,
): Promise<string[]> {
  const plan = await runApt('apt-get', configFile, ['-s', '--no-install-recommends', 'install', ...names], options);
  const wanted = new Set(names);
  for (const line of plan.split('\n')) {
    const name = /^Inst (\S+)/.exec(line)?.[1];
    if (name !== undefined && options.isNeeded(name)) wanted.add(name);
  }
  for (const name of options.always ?? []) wanted.add(name);
  return [...wanted];
}

/** Exported for its test: LLVM (150 MB, only for JIT), Perl's parts and the C library itself stay out. */
export function isNeededLibrary(name: string): boolean {
  return name.startsWith('lib') && !/^lib(llvm|perl|z3|c6|c-bin|c-l10n)|-perl$/.test(name);
}

async function unpack(downloads: string, folder: string, options: Signalled): Promise<void> {
  const unfinished = join(folder, `tree.${process.pid}`);
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  for (const file of readdirSync(downloads).filter((name) => name.endsWith('.deb'))) {
    const result = await exec('dpkg', ['-x', join(downloads, file), unfinished], signalOf(options));
    if (result.code !== 0) throw new LeaseholdError('SETUP', `dpkg -x ${file}: ${result.stderr.trim()}`);
  }
  withoutJit(unfinished);
  // PostgreSQL's own user must read it when this runs as root with a strict umask.
  chmodSync(unfinished, 0o755);
  rmSync(treeOf(folder), { recursive: true, force: true });
  renameSync(unfinished, treeOf(folder));
}

/** Without LLVM the JIT provider cannot be loaded, and a costly query would fail on that. Without the provider, PostgreSQL does not try. */
function withoutJit(tree: string): void {
  const base = join(tree, 'usr/lib/postgresql');
  if (!existsSync(base)) return;
  for (const version of readdirSync(base)) rmSync(join(base, version, 'lib/llvmjit.so'), { force: true });
}

async function runApt(
  tool: string,
  configFile: string,
  args: readonly string[],
  options: Signalled,
  cwd?: string,
): Promise<string> {
  const result = await exec(tool, ['-c', configFile, '-q', ...args], {
    ...signalOf(options),
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    timeoutMs: 900_000,
    ...(cwd === undefined ? {} : { cwd }),
  });
  options.signal?.throwIfAborted();
  if (result.code === 0) return result.stdout;
  const reasons = result.stderr.split('\n').filter((line) => /^[EW]:/.test(line));
  const text = (reasons.length > 0 ? reasons : [result.stderr.trim()]).slice(0, 4).join('\n    ');
  throw new LeaseholdError('SETUP', `${tool} ${args[0]} failed:\n    ${text}`);
}

type Signalled = Pick<UnpackOptions, 'signal'>;

function signalOf(options: Signalled): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}
