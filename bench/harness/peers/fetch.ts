import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../../ops/paths.ts';
import { hasDebianTools, libraryPathOf, writeAptConfig } from '../../../ops/setup/debian.ts';
import { exec } from '../../../ops/setup/exec.ts';
import { debianMirror } from '../../../test/support/debian-release.ts';

/** The programs that Leasehold is compared with, unpacked from Debian's packages: nothing is installed. */
export interface Peers {
  /** How to start a program of the tree, whatever C library this machine has: the tree brings its own loader. */
  command(program: string): readonly [string, ...string[]];
  /** By package. */
  readonly versions: ReadonlyMap<string, string>;
}

const PACKAGES = ['pgbouncer', 'odyssey', 'haproxy', 'pgpool2'] as const;
/** Where the newest versions are. */
const SUITE = 'sid';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Fetches what is not there yet. Rejects with the reason where that is not possible. */
export async function fetchPeers(report: (line: string) => void): Promise<Peers> {
  const folder = join(cacheFolder(process.env), 'bench-peers');
  const tree = join(folder, 'tree');
  if (!existsSync(tree)) await fetchInto(folder, tree, report);
  const loader = findLoader(tree);
  const libraries = libraryPathOf(join(tree, 'usr')) ?? libraryPathOf(tree) ?? '';
  const versions = new Map<string, string>();
  for (const line of readFileSync(join(tree, 'versions'), 'utf8').trim().split('\n')) {
    const [name = '', version = ''] = line.split(' ');
    versions.set(name, version);
  }
  return { versions, command: (program) => [loader, '--library-path', libraries, join(tree, program)] };
}

async function fetchInto(folder: string, tree: string, report: (line: string) => void): Promise<void> {
  if (!hasDebianTools())
    throw new Error('the peers come from Debian’s packages, and this system has no apt-get and dpkg');
  if (!existsSync(KEYRING))
    throw new Error(`the peers come from Debian’s packages, and ${KEYRING} is not here (debian-archive-keyring)`);
  report(`fetching ${PACKAGES.join(', ')} from Debian ${SUITE} into ${folder}`);
  const apt = join(folder, `apt.${process.pid}`);
  const unfinished = join(folder, `tree.${process.pid}`);
  try {
    mkdirSync(join(apt, 'none'), { recursive: true });
    writeFileSync(join(apt, 'status'), '');
    writeFileSync(join(apt, 'list'), `deb [signed-by=${KEYRING}] ${await debianMirror()} ${SUITE} main\n`);
    const config = writeAptConfig(apt, [
      `Dir::State::status "${join(apt, 'status')}";`, // nothing counts as installed: the tree needs nothing of the system
      `Dir::Etc::sourcelist "${join(apt, 'list')}";`,
      `Dir::Etc::sourceparts "${join(apt, 'none')}";`,
    ]);
    const downloads = join(apt, 'downloads');
    await must('apt-get', ['-c', config, '-q', 'update'], apt);
    const plan = await must('apt-get', ['-c', config, '-s', '--no-install-recommends', 'install', ...PACKAGES], apt);
    const names = [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
    const wanted = names.filter(isUseful);
    await must('apt-get', ['-c', config, '-q', 'download', ...wanted], downloads);
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    const files = readdirSync(downloads).filter((name) => name.endsWith('.deb'));
    for (const file of files) await must('dpkg', ['-x', join(downloads, file), unfinished], downloads);
    const versions = PACKAGES.map((name) => {
      const file = files.find((each) => each.startsWith(`${name}_`)) ?? '';
      return `${name} ${decodeURIComponent(file.split('_')[1] ?? '')}`;
    });
    writeFileSync(join(unfinished, 'versions'), `${versions.join('\n')}\n`);
    await must('chmod', ['-R', 'go+rX', unfinished], folder);
    renameSync(unfinished, tree);
  } finally {
    rmSync(apt, { recursive: true, force: true });
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** The programs and every library, the C library too; not what only matters to an installation. */
function isUseful(name: string): boolean {
  return PACKAGES.some((each) => each === name) || (name.startsWith('lib') && !name.endsWith('-perl'));
}

function findLoader(tree: string): string {
  for (const base of [join(tree, 'usr/lib'), join(tree, 'lib'), join(tree, 'usr/lib64')]) {
    if (!existsSync(base)) continue;
    for (const name of readdirSync(base, { recursive: true, encoding: 'utf8' })) {
      if (/(^|\/)ld-linux-[\w-]+\.so\.\d$/.test(name)) return join(base, name);
    }
  }
  throw new Error(`no dynamic loader below ${tree}: remove it, to have it fetched again`);
}

async function must(program: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const result = await exec(program, args, { cwd, env, timeoutMs: 600_000 });
  if (result.code === 0) return result.stdout;
  throw new Error(`${program} ${args.slice(0, 4).join(' ')}: ${result.stderr.trim().split('\n').slice(-3).join(' ')}`);
}
