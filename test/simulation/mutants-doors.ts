import { effects, type Mutant } from './planted.ts';

/** Who may take WAL from whom: pg_hba.conf and the slots of a term (admission.ts). */
export const DOOR_MUTANTS: readonly Mutant[] = [
  {
    name: 'a server that does not lead admits followers and copies',
    breaks: ['S8'],
    seeds: 60,
    planted: { door: { always: true } },
  },
  {
    name: 'followers acknowledge whose agents have not agreed to the term',
    breaks: ['I2', 'I11'],
    // A node must be elected again whose follower streamed on without its agent, and the slots of before must be left.
    seeds: 60,
    planted: {
      door: { slotsStay: true },
      ...effects((e) => (e.type === 'pg-set-synchronous' && e.k > 0 ? { ...e, names: ['a', 'b', 'c', 'd', 'e'] } : e)),
    },
  },
];
