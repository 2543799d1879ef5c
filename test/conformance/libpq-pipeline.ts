import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exec } from '../../ops/setup/exec.ts';
import { installPackages } from './debian-packages.ts';
import { runLogged } from './logged.ts';
import { prepareSource, sourceOf } from './postgres-source.ts';
import type { Suite, Target, TestResult } from './suite.ts';

/** As many as PostgreSQL's own run of it inserts. */
const ROWS = 700;
const INCLUDE = '/usr/include/postgresql';

/** PostgreSQL's own test of pipeline mode, which plays it by libpq; of some of its tests every message is compared, too. */
export const libpqPipeline: Suite = {
  name: 'libpq_pipeline',
  pooling: ['transaction', 'session'],
  prepare: async (work) => {
    const why = (await prepareSource(work)) ?? (await installPackages(['gcc', 'libc6-dev', 'libpq-dev', 'perl']));
    if (why !== null || existsSync(programOf(work))) return why;
    return await build(work);
  },
  run: async (target, work) => {
    const { stdout } = await exec(programOf(work), ['tests']);
    const results: TestResult[] = [];
    for (const test of stdout.split(/\s+/).filter((name) => name !== '')) {
      results.push(...(await play(target, work, test)));
    }
    if (results.length === 0) throw new Error('libpq_pipeline names no tests');
    return results;
  },
};

async function play(target: Target, work: string, test: string): Promise<readonly TestResult[]> {
  const { host, port, superuser, output } = target;
  const expected = join(sourceOf(work).tree, MODULE, 'traces', `${test}.trace`);
  const isTraced = existsSync(expected);
  const trace = join(output, `${test}.trace`);
  const args = ['-r', String(ROWS), ...(isTraced ? ['-t', trace] : []), test];
  const dsn = `host=${host} port=${port} user=${superuser.user} password=${superuser.password} dbname=postgres sslmode=disable`;
  const done = await runLogged(programOf(work), [...args, dsn], { folder: output, name: test, timeoutMs: 60_000 });
  const passed = done.code === 0;
  const detail = passed ? '' : done.output.trim().split('\n').slice(-3).join('\n');
  const results: TestResult[] = [{ test, outcome: passed ? 'passed' : 'failed', detail }];
  if (isTraced) results.push(compareTraces(`${test}, its messages`, expected, trace));
  return results;
}

function compareTraces(test: string, expected: string, trace: string): TestResult {
  const wanted = readFileSync(expected, 'utf8').split('\n');
  const got = existsSync(trace) ? readFileSync(trace, 'utf8').split('\n') : [];
  const at = wanted.findIndex((line, i) => got[i] !== line);
  if (at < 0 && got.length === wanted.length) return { test, outcome: 'passed', detail: '' };
  const line = at < 0 ? wanted.length : at;
  return { test, outcome: 'failed', detail: `line ${line + 1}\n-${wanted[line] ?? ''}\n+${got[line] ?? ''}` };
}

const MODULE = 'src/test/modules/libpq_pipeline';

function programOf(work: string): string {
  return join(work, 'libpq_pipeline');
}

/** Its one source file, with what it uses of PostgreSQL's besides libpq, and one header that the build of PostgreSQL makes. */
async function build(work: string): Promise<string | null> {
  const { tree } = sourceOf(work);
  const catalog = join(work, 'generated/catalog');
  mkdirSync(catalog, { recursive: true });
  const headers = join(tree, 'src/include/catalog');
  const tables = readdirSync(headers)
    .filter((name) => /^pg_.*\.h$/.test(name))
    .map((name) => join(headers, name))
    .filter((file) => /^CATALOG\(/m.test(readFileSync(file, 'utf8')));
  const major = Number.parseInt(readFileSync(join(dirname(tree), 'version'), 'utf8'), 10);
  const scripts = join(tree, 'src/backend/catalog');
  const options = [`--include-path=${tree}/src/include/`, `--set-version=${major}`, `--output=${catalog}`];
  const generated = await exec('perl', ['-I', scripts, join(scripts, 'genbki.pl'), ...options, ...tables]);
  if (generated.code !== 0) return `its header was not made: ${generated.stderr.trim().split('\n').at(-1)}`;
  const sources = [
    `${MODULE}/libpq_pipeline.c`,
    'src/common/fe_memutils.c',
    'src/common/psprintf.c',
    'src/port/pgsleep.c',
    'src/port/snprintf.c',
    'src/port/strerror.c',
  ];
  const include = [join(work, 'generated'), join(tree, 'src/include'), INCLUDE, join(INCLUDE, 'internal')];
  const unfinished = `${programOf(work)}.unfinished`;
  const flags = ['-O1', '-w', '-D_GNU_SOURCE', '-DFRONTEND', ...include.flatMap((folder) => ['-I', folder])];
  const files = sources.map((file) => join(tree, file));
  const compiled = await exec('cc', [...flags, '-o', unfinished, ...files, '-lpq']);
  if (compiled.code !== 0) return `it was not built: ${compiled.stderr.trim().split('\n').slice(-3).join('\n')}`;
  renameSync(unfinished, programOf(work));
  return null;
}
