import { exec } from '../../ops/setup/exec.ts';

/** Where this system gets its packages of Debian from: other releases are there, too. Rejects where apt names no such place. */
export async function debianMirror(): Promise<string> {
  const { stdout } = await exec('apt-get', ['indextargets', '--format', '$(REPO_URI)']);
  const archive = stdout.split('\n').find((uri) => /^https?:\/\//.test(uri) && !uri.includes('security'));
  if (archive === undefined) throw new Error('the package sources of this system name no archive of Debian’s');
  return archive.replace(/\/$/, '');
}
