import { decodeRecord, encodeRecord, historyRecord, syncRecord } from '../../election/store/records.ts';
import type { Step } from '../../election/core/types.ts';
import { acquireWithout, effects, keys, type Mutant, views } from './planted.ts';

/** Neither in what it sees, nor in what it compares when it acquires. */
function withoutPause(real: Step): Step {
  const blind = views((view) => ({ ...view, pause: null })).step?.(real) ?? real;
  return acquireWithout((key) => key === keys.pause).step?.(blind) ?? blind;
}

/** Bugs of what operators ask for: forced failovers, pauses. */
export const FORCED_MUTANTS: readonly Mutant[] = [
  {
    name: 'a node is promoted by force without looking whether another one has more',
    breaks: ['I11'],
    seeds: 200,
    planted: views((view, node) => {
      if (view.leaderCreateRevision !== 0) return view;
      return { ...view, members: new Map([...view.members].filter(([name]) => name === node)) };
    }),
  },
  {
    name: 'the data that a forced failover gave up is erased when its node rejoins',
    breaks: ['I11'],
    seeds: 100,
    planted: effects((e) => (e.type === 'pg-clone' ? { ...e, keepAs: null } : e)),
  },
  {
    name: 'a candidate does not look whether automatic failover is paused',
    breaks: ['E14'],
    seeds: 60,
    planted: { step: withoutPause },
  },
  {
    name: 'a term that began by force takes the followers of the term before for its own',
    breaks: ['I2'],
    seeds: 300,
    planted: effects((e) => {
      if (e.type !== 'transact') return e;
      const forced = e.transaction.then.some((o) => {
        if (o.type !== 'put' || !o.key.startsWith(keys.historyPrefix)) return false;
        return decodeRecord(historyRecord, o.value)?.reason === 'forced';
      });
      if (!forced) return e;
      const then = e.transaction.then.map((o) => {
        const record = o.type === 'put' && o.key === keys.sync ? decodeRecord(syncRecord, o.value) : null;
        if (o.type !== 'put' || record === null) return o;
        const members = ['a', 'b', 'c'].filter((name) => name !== record.leader);
        return { ...o, value: encodeRecord(syncRecord, { ...record, members, k: 2 }) };
      });
      return { ...e, transaction: { ...e.transaction, then } };
    }),
  },
];
