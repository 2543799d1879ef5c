import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../../ops/paths.ts';
import { hasDebianTools, libraryPathOf, treeOf, unpackPackages } from '../../../ops/setup/debian.ts';
import { exec } from '../../../ops/setup/exec.ts';
import { isReachable, postgresUser } from '../../../ops/setup/os-user.ts';
import { PYTHON } from '../../../test/support/programs.ts';

/** How Patroni and HAProxy are started. */
export interface PatroniPrograms {
  readonly python: string;
  readonly patroni: string;
  readonly haproxy: string;
  readonly env: NodeJS.ProcessEnv;
  readonly versions: string;
}

/** Debian's patroni and haproxy, unpacked into the cache with what this system lacks of their needs: nothing is installed. */
export async function providePatroni(report: (line: string) => void): Promise<PatroniPrograms> {
  if (!existsSync(PYTHON)) throw new Error(`Patroni needs ${PYTHON} (apt-get install python3)`);
  const folder = join(patroniCache(), 'patroni');
  const tree = treeOf(folder);
  if (!existsSync(tree)) {
    if (!hasDebianTools())
      throw new Error('Patroni comes from Debian’s packages, and this system has no apt-get and dpkg');
    report(`Patroni and HAProxy: fetching the distribution's packages into ${folder}`);
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    await unpackPackages({
      folder,
      choose: async () => ['patroni', 'haproxy'],
      isNeeded: isNeededByPatroni,
      always: ['python3-etcd', 'python3-dnspython'],
      report,
    });
    chmodSync(folder, 0o755);
  }
  // PostgreSQL's own libraries too, where it was unpacked like this: Patroni starts it.
  const libraries = [process.env['LEASEHOLD_PG_LIB'], libraryPathOf(tree)].filter(Boolean).join(':');
  const env = {
    ...process.env,
    PYTHONPATH: join(tree, 'usr/lib/python3/dist-packages'),
    ...(libraries === '' ? {} : { LD_LIBRARY_PATH: libraries }),
  };
  const programs = { python: PYTHON, patroni: join(tree, 'usr/bin/patroni'), haproxy: join(tree, 'usr/sbin/haproxy') };
  const patroni = await exec(programs.python, [programs.patroni, '--version'], { env });
  const haproxy = await exec(programs.haproxy, ['-v'], { env });
  if (patroni.code !== 0) throw new Error(`Patroni does not run here: ${patroni.stderr.trim().slice(-300)}`);
  if (haproxy.code !== 0) throw new Error(`HAProxy does not run here: ${haproxy.stderr.trim().slice(-300)}`);
  const haproxyVersion = /version (\d[\d.]*)/.exec(haproxy.stdout)?.[1] ?? '?';
  return {
    ...programs,
    env,
    versions: `Patroni ${patroni.stdout.trim().replace(/^patroni /, '')}, HAProxy ${haproxyVersion}`,
  };
}

/** Modules of Python and libraries; not PostgreSQL, which is the same for all sides, and not the interpreter. */
function isNeededByPatroni(name: string): boolean {
  return (
    name.startsWith('python3-') ||
    (name.startsWith('lib') && !/^lib(llvm|perl|z3|c6|c-bin|c-l10n|python)|-perl$/.test(name))
  );
}

/** Where PostgreSQL's own user can read it: Patroni runs as that user. */
function patroniCache(): string {
  const own = cacheFolder(process.env);
  const user = postgresUser();
  return user === null || isReachable(own, user) ? own : '/var/cache/leasehold';
}
