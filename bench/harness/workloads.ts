import { join } from 'node:path';
import type { Workload } from './matrix.ts';

const SCRIPTS = join(import.meta.dirname, 'scripts');
const file = (name: string): string => join(SCRIPTS, name);

/** pgbench's arguments for a workload. */
export function scriptsOf(workload: Workload): readonly string[] {
  switch (workload) {
    case 'read':
      return ['-b', 'select-only'];
    case 'tpcb':
      return ['-b', 'tpcb-like'];
    case 'mix':
      return ['-f', `${file('read.sql')}@9`, '-f', `${file('write.sql')}@1`];
    case 'big':
      return ['-f', file('big.sql')];
    default:
      throw new RangeError(`${workload} is not pgbench's`);
  }
}

/** Rows of `bench_big`: 10 MB of text over the wire. */
export const BIG_BYTES = 10 * 1024 * 1024;
export const BIG_SQL = `CREATE TABLE bench_big AS SELECT i, repeat('x', 1010) AS text FROM generate_series(1, 10240) AS i`;
