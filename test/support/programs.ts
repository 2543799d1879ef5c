import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { postgresUser } from '../../ops/setup/os-user.ts';
import { preparePrograms } from '../../ops/setup/prepare.ts';

/** The system's own interpreter: another one on the PATH does not see Debian's packages. */
export const PYTHON = '/usr/bin/python3';

/**
 * PostgreSQL and etcd for the tests, found or fetched as `leasehold up` does, and named to every test by
 * LEASEHOLD_PG_BIN, LEASEHOLD_PG_LIB and LEASEHOLD_ETCD_BIN. Returns why there are none, or null.
 */
export async function providePrograms(report: (line: string) => void): Promise<string | null> {
  try {
    const { postgres, etcd } = await preparePrograms({ env: process.env, osUser: postgresUser(), report });
    process.env['LEASEHOLD_PG_BIN'] = postgres.binDir;
    if (postgres.libDir !== null) process.env['LEASEHOLD_PG_LIB'] = postgres.libDir;
    process.env['LEASEHOLD_ETCD_BIN'] = etcd.program;
    report(`PostgreSQL ${postgres.version} in ${postgres.binDir}, etcd ${etcd.version} (${etcd.program})`);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** psycopg for the test with another language's driver; with `install`, from Debian's packages. */
export function provideDriver(install: boolean): string | null {
  if (hasPsycopg()) return null;
  if (install && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['update', '-qq'], { stdio: 'inherit', env });
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'python3-psycopg'], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    });
  }
  return hasPsycopg() ? null : 'psycopg is missing (Debian: apt-get install python3-psycopg)';
}

export function hasPsycopg(): boolean {
  return spawnSync(PYTHON, ['-c', 'import psycopg'], { stdio: 'ignore' }).status === 0;
}
