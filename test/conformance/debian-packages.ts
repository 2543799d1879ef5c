import { exec } from '../../ops/setup/exec.ts';

const APT = { env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }, timeoutMs: 900_000 };

/**
 * Installs Debian's packages, as root, where they are missing. Null when all are there, else why not. An installed
 * PostgreSQL server is never replaced: whoever keeps a version wants that one.
 */
export async function installPackages(names: readonly string[]): Promise<string | null> {
  const missing = await missingOf(names);
  if (missing.length === 0) return null;
  const wanted = `the packages ${missing.join(' ')}`;
  if (process.getuid?.() !== 0) return `needs ${wanted}, and only root may install them`;
  await exec('apt-get', ['-q', 'update'], APT);
  const how = ['-q', '-y', '--no-install-recommends'];
  const plan = await exec('apt-get', [...how, '-s', 'install', ...missing], APT);
  if (plan.code !== 0) return `needs ${wanted}: ${lastLine(plan.stdout + plan.stderr)}`;
  const replaced = /^Inst (postgresql-\d+) \[/m.exec(plan.stdout)?.[1];
  if (replaced !== undefined) return `needs ${wanted}, which would replace the installed ${replaced}`;
  const { code, stdout, stderr } = await exec('apt-get', [...how, 'install', ...missing], APT);
  return code === 0 ? null : `could not install ${wanted}: ${lastLine(stdout + stderr)}`;
}

async function missingOf(names: readonly string[]): Promise<string[]> {
  const { stdout } = await exec('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...names], APT);
  const installed = new Set(
    stdout.split('\n').flatMap((line) => (line.endsWith(' installed') ? [line.split(' ')[0] ?? ''] : [])),
  );
  return names.filter((name) => !installed.has(name));
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
