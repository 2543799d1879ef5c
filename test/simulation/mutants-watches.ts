import type { Mutant } from './planted.ts';

/** What etcd's compactions do to watches. */
export const WATCH_MUTANTS: readonly Mutant[] = [
  {
    name: 'a client whose watch was compacted hears no more',
    breaks: ['I5', 'I6'],
    seeds: 60,
    planted: { compactedIsForever: true },
  },
];
