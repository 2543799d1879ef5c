import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec } from '../../ops/setup/exec.ts';
import { ClientProcess } from './client-process.ts';
import { installPackages } from './debian-packages.ts';
import { appEnv } from './logged.ts';
import { PATIENT, type Suite, type TestResult } from './suite.ts';
import { makeFolder } from './targets.ts';

interface OrmProgram {
  /** Also its file in `orms/`, `.mjs`, unless `file` names another. */
  readonly name: string;
  readonly steps: readonly string[];
  readonly runsJobs?: true;
  /** Debian's packages; the others are npm's. */
  readonly packages?: readonly string[];
  readonly file?: string;
}

/** Each with the steps that it has; one file each in `orms/`. */
const PROGRAMS: readonly OrmProgram[] = [
  { name: 'drizzle', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'prepared'] },
  { name: 'typeorm', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
  { name: 'sequelize', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'raw'] },
  { name: 'kysely', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
  { name: 'knex', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
  {
    name: 'sqlalchemy',
    steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'],
    packages: ['python3-sqlalchemy', 'python3-psycopg2'],
    file: 'sqlalchemy_orm.py',
  },
  {
    name: 'django',
    steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'],
    packages: ['python3-django', 'python3-psycopg2'],
    file: 'django_orm.py',
  },
  { name: 'pg-boss', steps: ['migrate', 'read-your-writes'], runsJobs: true },
  { name: 'graphile-worker', steps: ['migrate', 'read-your-writes'], runsJobs: true },
];
const TIMEOUT_MS = 240_000;
/** Jobs run for this long before, between and after the two switchovers. */
const PART_MS = 20_000;

/** ORMs and query builders; and job queues, which work on while the leader is switched over twice. */
export const orms: Suite = {
  name: 'orms',
  settings: PATIENT,
  prepare: async (work) => {
    const src = join(work, 'src');
    mkdirSync(src, { recursive: true });
    cpSync(join(import.meta.dirname, 'orms'), src, { recursive: true });
    for (const harness of ['node/harness.mjs', 'python/harness.py']) {
      cpSync(join(import.meta.dirname, 'clients', harness), join(src, basename(harness)));
    }
    for (const { packages } of PROGRAMS) {
      const missing = packages === undefined ? null : await installPackages(packages);
      if (missing !== null) return missing;
    }
    const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts'];
    const { code, stdout, stderr } = await exec('npm', args, { cwd: src, timeoutMs: 600_000 });
    return code === 0 ? null : `npm ci ended with ${code}: ${(stderr + stdout).trim().slice(-1000)}`;
  },
  run: async (target, work) => {
    const signals = join(target.output, 'signals');
    makeFolder(signals);
    const start = ({ name, file }: OrmProgram, steps: readonly string[]): ClientProcess =>
      new ClientProcess({
        name,
        command:
          file === undefined
            ? [process.execPath, '--no-warnings', `${name}.mjs`]
            : ['/usr/bin/python3', '-B', '-W', 'ignore', file],
        cwd: join(work, 'src'),
        env: appEnv(target),
        output: target.output,
        signals,
        steps,
        timeoutMs: TIMEOUT_MS,
      });
    const results: TestResult[] = [];
    for (const program of PROGRAMS) results.push(...(await start(program, program.steps).results));
    const working = PROGRAMS.filter(({ runsJobs }) => runsJobs).map((program) => start(program, ['jobs']));
    await Promise.all(working.map((each) => each.ready('jobs')));
    for (let i = 0; i < 2; i++) {
      await sleep(PART_MS);
      await target.switchover();
    }
    await sleep(PART_MS);
    writeFileSync(join(signals, 'jobs'), '');
    results.push(...(await Promise.all(working.map((each) => each.results))).flat());
    return results;
  },
};
