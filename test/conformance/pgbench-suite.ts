import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LoggedResult, runLogged } from './logged.ts';
import type { Suite, Target, TestResult } from './suite.ts';
import { postgresProgram } from './targets.ts';

const CLIENTS = 4;
const TRANSACTIONS = 100;
const MODES = ['simple', 'extended', 'prepared'] as const;
const BUILTINS = ['tpcb-like', 'simple-update', 'select-only'] as const;

/** What a client wrote it reads back, inside a transaction and after it, or it divides by zero. */
const OWN_READS = `\\set aid random(1, 100000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid RETURNING abalance AS written \\gset
SELECT abalance >= :written AS fine FROM pgbench_accounts WHERE aid = :aid \\gset in_
END;
SELECT abalance >= :written AS fine FROM pgbench_accounts WHERE aid = :aid \\gset after_
\\if :in_fine and :after_fine
SELECT 1;
\\else
SELECT 1 / 0;
\\endif
`;

const PIPELINE = `\\set aid random(1, 100000)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
\\endpipeline
`;

/** pgbench's own scripts and two more, in each of its protocol modes. */
export const pgbenchSuite: Suite = {
  name: 'pgbench',
  pooling: ['transaction', 'session'],
  prepare: async () => null,
  run: async (target) => {
    writeFileSync(join(target.output, 'own-reads.sql'), OWN_READS);
    writeFileSync(join(target.output, 'pipeline.sql'), PIPELINE);
    const results = [outcome('initialise', await run(target, 'initialise', ['-i', '-s', '1', '--foreign-keys']), null)];
    for (const mode of MODES) {
      for (const script of BUILTINS) results.push(await bench(target, mode, script, ['-b', script]));
      results.push(await bench(target, mode, 'own-reads', ['-f', 'own-reads.sql']));
      if (mode !== 'simple') results.push(await bench(target, mode, 'pipeline', ['-f', 'pipeline.sql']));
    }
    const reconnecting = ['-b', 'tpcb-like', '-C'];
    results.push(await bench(target, 'simple', 'tpcb-like, a connection for each transaction', reconnecting));
    results.push(await balances(target));
    return results;
  },
};

async function bench(target: Target, mode: string, script: string, args: readonly string[]): Promise<TestResult> {
  const name = `${mode} ${script}`;
  const load = ['-n', '-c', String(CLIENTS), '-j', '2', '-t', String(TRANSACTIONS), '-M', mode];
  const done = await run(target, name.replaceAll(/\W+/g, '-'), [...load, ...args]);
  return outcome(name, done, `processed: ${CLIENTS * TRANSACTIONS}/${CLIENTS * TRANSACTIONS}`);
}

/** Every transaction of the built-in scripts adds the same to an account and to what the history tells. */
async function balances(target: Target): Promise<TestResult> {
  const sql = `SELECT (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)
    AND (SELECT count(*) FROM pgbench_history) = ${CLIENTS * TRANSACTIONS * 7}`;
  const done = await runLogged(postgresProgram('psql'), ['-XAtc', sql], {
    folder: target.output,
    name: 'balances',
    env: appEnv(target),
  });
  return outcome('balances agree', done, 't\n');
}

function run(target: Target, name: string, args: readonly string[]): Promise<LoggedResult> {
  return runLogged(postgresProgram('pgbench'), args, { folder: target.output, name, env: appEnv(target) });
}

function appEnv(target: Target): NodeJS.ProcessEnv {
  const { user, password, database } = target.app;
  return {
    PGHOST: target.host,
    PGPORT: String(target.port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
  };
}

function outcome(test: string, { code, output }: LoggedResult, expected: string | null): TestResult {
  const passed = code === 0 && (expected === null || output.includes(expected));
  return { test, outcome: passed ? 'passed' : 'failed', detail: passed ? '' : output.trim().slice(-1500) };
}
