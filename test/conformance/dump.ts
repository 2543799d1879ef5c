import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runLogged, superuserEnv } from './logged.ts';
import { runRegress } from './pg-regress.ts';
import { prepareSource } from './postgres-source.ts';
import type { Suite, Target, TestResult } from './suite.ts';
import { postgresProgram } from './targets.ts';

/** Tests that leave many kinds of objects behind, with the data that they need. */
const OBJECTS = `
  test_setup create_index create_type create_table create_view triggers rules generated identity rangetypes
  matview domain plpgsql json foreign_key indexing`
  .trim()
  .split(/\s+/);

/** pg_dump and psql or pg_restore there and back, of a database full of objects. */
export const dump: Suite = {
  name: 'dump',
  pooling: ['transaction', 'session'],
  settings: { LEASEHOLD_PROXY_POOL_SIZE: '60' },
  prepare: prepareSource,
  run: async (target, work) => {
    await runRegress(target, work, join(target.output, 'objects'), {
      program: 'regress/pg_regress',
      input: 'src/test/regress',
      database: 'regression',
      tests: { names: OBJECTS },
    });
    const first = await step(target, 'pg_dump', 'pg_dump', ['-f', 'first.sql', 'regression']);
    const server = ['-p', await serverPort(target), '-f', 'server.sql', 'regression'];
    const direct = await step(target, 'pg_dump of the server itself', 'pg_dump', server);
    const create = await step(target, 'createdb', 'createdb', ['-T', 'template0', 'restored']);
    const restore = ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', 'first.sql', 'restored'];
    const restored = await step(target, 'restore by psql', 'psql', restore);
    const again = await step(target, 'pg_dump of the restored', 'pg_dump', ['-f', 'again.sql', 'restored']);
    const parallel = ['-Fd', '-j', '3', '-f', 'parallel', 'regression'];
    const jobs = await step(target, 'pg_dump with three jobs', 'pg_dump', parallel);
    const createJobs = await step(target, 'createdb for pg_restore', 'createdb', ['-T', 'template0', 'by_jobs']);
    const restoreJobs = ['-e', '-j', '3', '-d', 'by_jobs', 'parallel'];
    const restoredJobs = await step(target, 'pg_restore with three jobs', 'pg_restore', restoreJobs);
    const last = await step(target, 'pg_dump of what pg_restore made', 'pg_dump', ['-f', 'jobs.sql', 'by_jobs']);
    return [
      first,
      direct,
      same(target, EXACT, 'first.sql', 'server.sql'),
      create,
      restored,
      again,
      same(target, 'the restored is the same', 'first.sql', 'again.sql'),
      jobs,
      createJobs,
      restoredJobs,
      last,
      same(target, 'what pg_restore made is the same', 'first.sql', 'jobs.sql'),
    ];
  },
};

async function step(target: Target, test: string, program: string, args: readonly string[]): Promise<TestResult> {
  const { code, output } = await runLogged(postgresProgram(program), args, {
    folder: target.output,
    name: test.replaceAll(/\W+/g, '-'),
    env: superuserEnv(target),
  });
  return { test, outcome: code === 0 ? 'passed' : 'failed', detail: code === 0 ? '' : output.trim().slice(-1500) };
}

/** The port of the server behind the target, which a client of the proxy may ask for. */
async function serverPort(target: Target): Promise<string> {
  const { stdout } = await runLogged(postgresProgram('psql'), ['-XAtc', 'SELECT inet_server_port()'], {
    folder: target.output,
    name: 'server-port',
    env: superuserEnv(target),
  });
  return stdout.trim();
}

const EXACT = 'equals that of the server itself';

function bare(line: string): string {
  return line.replace(/,$/, '');
}

/** Without the key that pg_dump makes up for each file. */
function linesOf(file: string): string[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => !/^\\(un)?restrict /.test(line));
}

function same(target: Target, test: string, a: string, b: string): TestResult {
  try {
    const [one = [], other = []] = [a, b].map((name) => linesOf(join(target.output, name)));
    // The order of a restored table's columns may be another where it inherits them.
    if (test !== EXACT) for (const lines of [one, other]) lines.splice(0, lines.length, ...lines.map(bare).sort());
    const at = one.findIndex((line, i) => line !== other[i]);
    if (at < 0 && one.length === other.length) return { test, outcome: 'passed', detail: '' };
    return { test, outcome: 'failed', detail: `line ${at + 1}: ${one[at]} | ${other[at]}` };
  } catch (error) {
    return { test, outcome: 'failed', detail: String(error) };
  }
}
