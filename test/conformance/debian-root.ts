import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, packageRoot } from '../../ops/paths.ts';
import { exec, type ExecResult } from '../../ops/setup/exec.ts';
import { makeDebian } from '../support/debian-release.ts';
import { installPackages } from './debian-packages.ts';

/** Releases of Debian by the major version of PostgreSQL that they carry. */
const RELEASES: ReadonlyMap<number, string> = new Map([
  [15, 'bookworm'],
  [17, 'trixie'],
  [18, 'forky'],
]);

/** Set within a root: what is not found there is lacking, and no reason for another root. */
export const IN_ROOT = 'LEASEHOLD_CONFORMANCE_ROOT';

/** Majors that a root can be made for. */
export const rootedMajors: readonly number[] = [...RELEASES.keys()];

/**
 * Runs this program once more, with the same arguments, within the Debian release that has this major version of
 * PostgreSQL: in a mount and a process namespace of its own, so that nothing of it outlives it. The packages are
 * fetched once and stay in the cache. Resolves to the exit code, or to why there is no such root.
 */
export async function runInRoot(
  major: number,
  args: readonly string[],
  say: (line: string) => void,
): Promise<number | string> {
  const release = RELEASES.get(major);
  if (release === undefined) return `no release of Debian is known to have PostgreSQL ${major}`;
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a root of another release needs root and Linux';
  const cache = join(cacheFolder(process.env), `postgres-${major}`);
  const folder = join(cache, 'root');
  try {
    await makeRoot(folder, release, major, say);
  } catch (error) {
    return (error as Error).message;
  }
  say(`PostgreSQL ${major}: in a root of Debian ${release}`);
  return await enter(folder, cache, args);
}

async function makeRoot(folder: string, release: string, major: number, say: (line: string) => void): Promise<void> {
  if (existsSync(folder)) return;
  const why = await installPackages(['debootstrap', 'util-linux']);
  if (why !== null) throw new Error(why);
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true, mode: 0o755 });
  say(`making a root of Debian ${release}, the first time only …`);
  await makeDebian(release, unfinished);
  copyFileSync('/etc/hosts', join(unfinished, 'etc/hosts'));
  // No server of the package's own making, and none started while it is unpacked.
  mkdirSync(join(unfinished, 'etc/postgresql-common'), { recursive: true });
  writeFileSync(join(unfinished, 'etc/postgresql-common/createcluster.conf'), 'create_main_cluster = false\n');
  writeFileSync(join(unfinished, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const packages = [`postgresql-${major}`, 'etcd-server', 'ca-certificates', 'gcc', 'libc6-dev', 'bzip2', 'xz-utils'];
  const install = `mount -t proc proc /proc && apt-get -q update && apt-get -q -y --no-install-recommends install ${packages.join(' ')} && apt-get clean`;
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  await must(exec('unshare', ['--mount', '--', 'chroot', unfinished, 'sh', '-ec', install], { env }));
  renameSync(unfinished, folder);
}

/**
 * The first process of the namespace: shows the project to the root, and waits for the run as an init has to, reaping what
 * others left. Arguments: the root, the runtime, the folders to show up to `--`, then the run's own.
 */
const INIT = `
root=$1 runtime=$2; shift 2
show() { mkdir -p "$root$1"; mount --bind "$1" "$root$1"; }
while [ "$1" != -- ]; do show "$1"; shift; done; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
touch "$root/usr/local/bin/node"
mount --bind "$runtime" "$root/usr/local/bin/node"
chroot "$root" /usr/local/bin/node --disable-warning=ExperimentalWarning "$@" &
code=0
wait $! || code=$?
exit $code
`;

async function enter(folder: string, cache: string, args: readonly string[]): Promise<number> {
  const shown = [...new Set([packageRoot, realpathSync(join(packageRoot, 'node_modules')), realpathSync(cache)])];
  const program = join(packageRoot, 'test/conformance/run.ts');
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
  const init = ['sh', '-ec', INIT, 'init', folder, realpathSync(process.execPath), ...shown, '--', program, ...args];
  // What names programs of this system names nothing there.
  const own = Object.entries(process.env).filter(([name]) => !/^LEASEHOLD_(PG|ETCD)_|^npm_/.test(name));
  const env = { ...Object.fromEntries(own), [IN_ROOT]: '1', LEASEHOLD_CACHE: realpathSync(cache), TMPDIR: '/tmp' };
  const child = spawn('unshare', [...namespaces, '--', ...init], { stdio: 'inherit', env, cwd: '/', detached: true });
  // unshare itself lets signals pass by, and so does an init: the run is told through their group.
  const forward = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, forward);
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));
  });
}

async function must(running: Promise<ExecResult>): Promise<void> {
  const { code, stdout, stderr } = await running;
  if (code !== 0) throw new Error((stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-4).join('\n'));
}
