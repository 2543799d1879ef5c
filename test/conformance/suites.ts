import { clients } from './clients.ts';
import { contrib } from './contrib.ts';
import { dump } from './dump.ts';
import { libpqPipeline } from './libpq-pipeline.ts';
import { orms } from './orms.ts';
import { isolation, regression } from './pg-regress.ts';
import { pgbenchSuite } from './pgbench-suite.ts';
import type { Suite } from './suite.ts';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [
  regression,
  isolation,
  libpqPipeline,
  contrib,
  pgbenchSuite,
  dump,
  clients,
  orms,
];
