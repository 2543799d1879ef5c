import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec } from '../../ops/setup/exec.ts';
import { ClientProcess } from './client-process.ts';
import { appEnv } from './logged.ts';
import { PATIENT, type Suite, type TestResult } from './suite.ts';
import { makeFolder } from './targets.ts';

/** Each with the steps that it has; one file each in `orms/`. */
const PROGRAMS: readonly { readonly name: string; readonly steps: readonly string[]; readonly runsJobs?: true }[] = [
  { name: 'drizzle', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'prepared'] },
  { name: 'typeorm', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
  { name: 'sequelize', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'raw'] },
  { name: 'kysely', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
  { name: 'knex', steps: ['migrate', 'read-your-writes', 'transactions', 'upsert', 'stream'] },
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
    cpSync(join(import.meta.dirname, 'clients/node/harness.mjs'), join(src, 'harness.mjs'));
    const args = ['ci', '--no-audit', '--no-fund', '--ignore-scripts'];
    const { code, stdout, stderr } = await exec('npm', args, { cwd: src, timeoutMs: 600_000 });
    return code === 0 ? null : `npm ci ended with ${code}: ${(stderr + stdout).trim().slice(-1000)}`;
  },
  run: async (target, work) => {
    const signals = join(target.output, 'signals');
    makeFolder(signals);
    const start = (name: string, steps: readonly string[]): ClientProcess =>
      new ClientProcess({
        name,
        command: [process.execPath, '--no-warnings', `${name}.mjs`],
        cwd: join(work, 'src'),
        env: appEnv(target),
        output: target.output,
        signals,
        steps,
        timeoutMs: TIMEOUT_MS,
      });
    const results: TestResult[] = [];
    for (const { name, steps } of PROGRAMS) results.push(...(await start(name, steps).results));
    const working = PROGRAMS.filter(({ runsJobs }) => runsJobs).map(({ name }) => start(name, ['jobs']));
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
