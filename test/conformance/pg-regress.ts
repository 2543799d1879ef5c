import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { runLogged, superuserEnv } from './logged.ts';
import { prepareSource, sourceOf } from './postgres-source.ts';
import { parseRegress } from './regress-output.ts';
import type { Suite, Target, TestResult } from './suite.ts';
import { makeFolder } from './targets.ts';

/** One run of PostgreSQL's own driver: `pg_regress`, or `pg_isolation_regress`. */
export interface RegressRun {
  /** Below `lib/pgxs/src/test`. */
  readonly program: 'regress/pg_regress' | 'isolation/pg_isolation_regress';
  /** Folder with `sql` (or `specs`) and `expected`, below the source tree. */
  readonly input: string;
  readonly database: string;
  /** A schedule file in `input`, or the tests by name. */
  readonly tests: { readonly schedule: string } | { readonly names: readonly string[] };
  readonly options?: readonly string[];
  /** Put before the tests' names in the results. */
  readonly prefix?: string;
}

/** Runs it as the superuser, in a database that it makes itself. Its files stay in `folder`. */
export async function runRegress(
  target: Target,
  work: string,
  folder: string,
  run: RegressRun,
): Promise<readonly TestResult[]> {
  const { tree, libraries, testPrograms } = sourceOf(work);
  const input = join(tree, run.input);
  makeFolder(folder);
  // Extensions' tests read their data by a relative path.
  if (existsSync(join(input, 'data'))) symlinkSync(join(input, 'data'), join(folder, 'data'));
  const tests = 'schedule' in run.tests ? [`--schedule=${join(input, run.tests.schedule)}`] : run.tests.names;
  const args = [
    `--inputdir=${input}`,
    `--outputdir=${folder}`,
    `--bindir=${process.env['LEASEHOLD_PG_BIN'] ?? ''}`,
    `--dlpath=${libraries}`,
    `--host=${target.host}`,
    `--port=${target.port}`,
    `--user=${target.superuser.user}`,
    `--dbname=${run.database}`,
    ...(run.options ?? []),
    ...tests,
  ];
  const env = superuserEnv(target);
  // It names the database itself, and this one would come before.
  delete env['PGDATABASE'];
  const { code, output } = await runLogged(join(testPrograms, run.program), args, {
    folder,
    name: 'pg_regress',
    env,
  });
  const diffs = join(folder, 'regression.diffs');
  const results = parseRegress(output, existsSync(diffs) ? readFileSync(diffs, 'utf8') : '', run.prefix);
  if (results.length === 0) throw new Error(`${run.program} ended with ${code}: ${output.trim().slice(-1000)}`);
  return results;
}

const POOLING = ['transaction', 'session'] as const;

/** The sizes that twenty sessions at once need. */
const SETTINGS = { LEASEHOLD_PROXY_POOL_SIZE: '60' };

export const regression: Suite = {
  name: 'regression',
  pooling: POOLING,
  settings: SETTINGS,
  prepare: prepareSource,
  run: (target, work) =>
    runRegress(target, work, join(target.output, 'regression'), {
      program: 'regress/pg_regress',
      input: 'src/test/regress',
      database: 'regression',
      tests: { schedule: 'parallel_schedule' },
    }),
};

export const isolation: Suite = {
  name: 'isolation',
  // The tester knows a session's server process by the pid that it was told: without one process for each session it waits for ever.
  pooling: ['session'],
  settings: SETTINGS,
  prepare: prepareSource,
  run: (target, work) =>
    runRegress(target, work, join(target.output, 'isolation'), {
      program: 'isolation/pg_isolation_regress',
      input: 'src/test/isolation',
      database: 'isolation_regression',
      tests: { schedule: 'isolation_schedule' },
    }),
};
