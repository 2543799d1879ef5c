import { accessSync, constants, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { PostgresEnvironmentError } from './errors.ts';

const NEEDED = ['postgres', 'initdb', 'pg_basebackup', 'pg_rewind', 'pg_controldata'] as const;
export type PostgresProgram = (typeof NEEDED)[number];

/**
 * The folder with PostgreSQL's programs: the configuration's `binDir`, LEASEHOLD_PG_BIN, that of `postgres` on the
 * PATH, else the newest of /usr/lib/postgresql. A place that was named must be complete; one that was guessed is passed over.
 */
export function findBinaries(configured: string | undefined, environment: NodeJS.ProcessEnv): string {
  const named = configured ?? environment['LEASEHOLD_PG_BIN'];
  if (named !== undefined) {
    const missing = missingPrograms(named);
    if (missing.length === 0) return named;
    throw new PostgresEnvironmentError(`${named} has no ${missing.join(', ')}: is it PostgreSQL's bin folder?`);
  }
  for (const folder of [...onPath(environment['PATH'] ?? ''), ...debianFolders()]) {
    if (missingPrograms(folder).length === 0) return folder;
  }
  throw new PostgresEnvironmentError(
    'PostgreSQL (15 or newer) was not found: install it, or name its bin folder in agent.postgres.binDir or LEASEHOLD_PG_BIN',
  );
}

function missingPrograms(folder: string): string[] {
  return NEEDED.filter((program) => !isExecutable(join(folder, program)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A link such as /usr/local/bin/postgres leads to the folder where the other programs are. */
function onPath(path: string): string[] {
  return path
    .split(delimiter)
    .filter((folder) => folder !== '' && isExecutable(join(folder, 'postgres')))
    .flatMap((folder) => [dirname(realpathSync(join(folder, 'postgres'))), folder]);
}

function debianFolders(): string[] {
  try {
    return readdirSync('/usr/lib/postgresql')
      .filter((name) => /^\d+$/.test(name))
      .sort((a, b) => Number(b) - Number(a))
      .map((name) => `/usr/lib/postgresql/${name}/bin`);
  } catch {
    return [];
  }
}
