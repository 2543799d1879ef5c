import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '../../ops/setup/exec.ts';

/** Where this system gets its packages of Debian from: other releases are there, too. Rejects where apt names no such place. */
export async function debianMirror(): Promise<string> {
  const { stdout } = await exec('apt-get', ['indextargets', '--format', '$(REPO_URI)']);
  const archive = stdout.split('\n').find((uri) => /^https?:\/\//.test(uri) && !uri.includes('security'));
  if (archive === undefined) throw new Error('the package sources of this system name no archive of Debian’s');
  return archive.replace(/\/$/, '');
}

const SCRIPTS = '/usr/share/debootstrap/scripts';

/** The least root of a release, in an empty folder: with debootstrap, as root. Rejects with the end of what it said. */
export async function makeDebian(release: string, folder: string): Promise<void> {
  // A debootstrap that is older than the release does not know its name; all since then are made like sid.
  const script = existsSync(join(SCRIPTS, release)) ? [] : [await debianMirror(), join(SCRIPTS, 'sid')];
  const made = await exec('debootstrap', ['--variant=minbase', release, folder, ...script], { timeoutMs: 600_000 });
  if (made.code !== 0) {
    const said = made.stderr.trim() === '' ? made.stdout : made.stderr;
    throw new Error(`debootstrap ${release}: ${said.trim().split('\n').slice(-4).join('\n')}`);
  }
  // A mirror that is some days behind serves as well.
  writeFileSync(join(folder, 'etc/apt/apt.conf.d/90leasehold'), 'Acquire::Check-Valid-Until "false";\n');
}
