import { isolation, regression } from './pg-regress.ts';
import { clients } from './clients.ts';
import type { Suite } from './suite.ts';

/** All suites, in the order in which they run. */
export const suites: readonly Suite[] = [regression, isolation, clients];
