import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runRegress } from './pg-regress.ts';
import { prepareSource, sourceOf } from './postgres-source.ts';
import type { Suite, TestResult } from './suite.ts';

/** Those that need nothing of the server but their library, which Debian's server package brings. */
const MODULES = `
  bloom btree_gin btree_gist citext cube dict_int dict_xsyn earthdistance fuzzystrmatch hstore intarray isn lo ltree
  pg_trgm pgcrypto seg tablefunc tsm_system_rows unaccent uuid-ossp xml2`
  .trim()
  .split(/\s+/)
  .map((name) => ({ name, input: `contrib/${name}` }));
const LANGUAGES = [{ name: 'plpgsql', input: 'src/pl/plpgsql/src' }];

/** The tests of PostgreSQL's extensions and of PL/pgSQL, each module in a database of its own. */
export const contrib: Suite = {
  name: 'contrib',
  pooling: ['transaction', 'session'],
  prepare: prepareSource,
  run: async (target, work) => {
    const results: TestResult[] = [];
    for (const { name, input } of [...LANGUAGES, ...MODULES]) {
      const names = testsOf(join(sourceOf(work).tree, input));
      const run = {
        program: 'regress/pg_regress',
        input,
        database: `contrib_${name}`,
        tests: { names },
        prefix: `${name}/`,
      } as const;
      results.push(...(await runRegress(target, work, join(target.output, name), run)));
    }
    return results;
  },
};

/** REGRESS of a module's Makefile, in order; what a variable adds by the way PostgreSQL was built is left out. */
function testsOf(folder: string): string[] {
  const makefile = readFileSync(join(folder, 'Makefile'), 'utf8').replaceAll('\\\n', ' ');
  const list = /^REGRESS\s*=(.*)$/m.exec(makefile)?.[1] ?? '';
  return list.split(/\s+/).filter((name) => name !== '' && existsSync(join(folder, 'sql', `${name}.sql`)));
}
