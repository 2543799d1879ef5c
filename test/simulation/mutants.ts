import { decodeRecord, encodeRecord, leaderRecord } from '../../election/store/records.ts';
import { DOOR_MUTANTS } from './mutants-doors.ts';
import { FORCED_MUTANTS } from './mutants-forced.ts';
import { acquireWithout, effects, keys, type Mutant, nothing, records, stillReceiving, views } from './planted.ts';

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'the leader key is taken without looking whether it is free',
    breaks: ['I4'],
    seeds: 60,
    planted: acquireWithout((key) => key === keys.leader || key === keys.term),
  },
  {
    name: 'a pledge is made while WAL still comes in',
    seeds: 150,
    breaks: ['I2', 'S8'],
    planted: { step: stillReceiving },
  },
  {
    name: 'a candidate does not look how far the others are',
    breaks: ['I2'],
    seeds: 60,
    planted: views((view, node) => {
      const pledges = new Map(view.pledges);
      for (const [name, stored] of pledges) {
        if (name === node) continue;
        pledges.set(name, { ...stored, record: { ...stored.record, timeline: 0, flushedLsn: 0n as never } });
      }
      return { ...view, pledges };
    }),
  },
  {
    name: 'a candidate takes every node for a sync member with one acknowledgement from all',
    breaks: ['I2'],
    seeds: 60,
    planted: views((view) => {
      if (view.sync === null || view.sync.record.k === 0) return view;
      const record = { ...view.sync.record, k: view.sync.record.members.length };
      return { ...view, sync: { ...view.sync, record } };
    }),
  },
  {
    name: 'no watchdog',
    breaks: ['I10'],
    seeds: 60,
    planted: { withoutWatchdog: true },
  },
  {
    name: 'the watchdog is fed a deadline two seconds too late',
    breaks: ['I10'],
    seeds: 60,
    planted: effects((e) =>
      e.type === 'feed-watchdog' && e.deadlineMs !== null ? { ...e, deadlineMs: e.deadlineMs + 2000 } : e,
    ),
  },
  {
    name: 'synchronous_standby_names is emptied',
    breaks: ['I2', 'I1'],
    seeds: 60,
    planted: effects((e) => (e.type === 'pg-set-synchronous' ? { ...e, names: [], k: 0 } : e)),
  },
  {
    name: 'PostgreSQL is not told of a set before it is recorded',
    breaks: ['I2', 'I1'],
    seeds: 100,
    planted: effects((e) => (e.type === 'pg-set-synchronous' && e.names.length === 1 ? nothing(e) : e)),
  },
  {
    name: 'copies are compared by position alone, not by the term of their content',
    seeds: 100,
    // A copy that was taken for better than it is also ends on a branch that nobody follows (I6).
    breaks: ['I2', 'S8', 'I6'],
    planted: views((view, node) => {
      const lineage = view.pledges.get(node)?.record.lineage;
      if (lineage === undefined) return view;
      const pledges = new Map([...view.pledges].map(([n, p]) => [n, { ...p, record: { ...p.record, lineage } }]));
      return { ...view, pledges };
    }),
  },
  {
    name: 'a started server says how far it has replayed, not how far its WAL goes',
    breaks: ['I2'],
    // It takes several losses in a row to lose a write by it: few seeds of the first thousand.
    from: 840,
    seeds: 60,
    planted: { slowRecoveryMs: 2000 },
  },
  {
    name: 'the same term is taken again',
    breaks: ['I4'],
    seeds: 60,
    planted: effects((effect) => {
      if (effect.type !== 'transact') return effect;
      const then = effect.transaction.then.map((o) => {
        if (o.type !== 'put') return o;
        if (o.key === keys.term) return { ...o, value: String(Math.max(1, Number(o.value) - 1)) };
        const record = o.key === keys.leader ? decodeRecord(leaderRecord, o.value) : null;
        if (record === null) return o;
        const term = (record.term > 1n ? record.term - 1n : 1n) as never;
        return { ...o, value: encodeRecord(leaderRecord, { ...record, term }) };
      });
      return { ...effect, transaction: { ...effect.transaction, then } };
    }),
  },
  {
    name: 'a candidate is content with one pledge too few',
    breaks: ['I2'],
    seeds: 100,
    planted: views((view, node) => {
      if (view.sync === null || view.sync.record.members.length < 2) return view;
      const gone = view.sync.record.members.find((name) => name !== node);
      const members = view.sync.record.members.filter((name) => name !== gone);
      return { ...view, sync: { ...view.sync, record: { ...view.sync.record, members } } };
    }),
  },
  {
    name: 'a new term forgets that the old leader is a member',
    breaks: ['I2'],
    seeds: 300,
    planted: records((r) => (r.members.length > 1 ? { ...r, members: r.members.slice(0, -1) } : r), true),
  },
  {
    name: 'a leader that goes on alone does not record it',
    breaks: ['I2'],
    from: 100,
    seeds: 60,
    planted: records(
      (r) => (r.k === 0 ? { ...r, k: 1, members: ['a', 'b', 'c'].filter((n) => n !== r.leader) } : r),
      false,
    ),
  },
  {
    name: 'a record names more acknowledgements than PostgreSQL waits for',
    breaks: ['I2'],
    seeds: 100,
    planted: records((r) => (r.k > 0 ? { ...r, k: r.members.length } : r), false),
  },
  {
    name: 'a copy that parted is followed instead of rewound',
    breaks: ['I2', 'S8', 'I6'],
    seeds: 100,
    planted: effects((e) => (e.type === 'pg-rewind' || e.type === 'pg-clone' ? nothing(e) : e)),
  },
  {
    name: 'a leader keeps the rule of the term before',
    breaks: ['I1', 'I2'],
    seeds: 100,
    planted: {
      step: (real) => (state, input) => {
        const result = real(state, input);
        if (result.state.mode.kind !== 'PROMOTING') return result;
        return { ...result, effects: result.effects.map((e) => (e.type === 'pg-set-synchronous' ? nothing(e) : e)) };
      },
    },
  },
  {
    name: 'the key is given back while PostgreSQL runs',
    breaks: ['I10', 'I1', 'I2'],
    seeds: 60,
    planted: {
      step: (real) => (state, input) => {
        const result = real(state, input);
        const lease = 'lead' in state.mode ? state.mode.lead.lease : null;
        if (result.state.mode.kind !== 'DEMOTING' || lease === null || state.mode.kind === 'DEMOTING') return result;
        return {
          ...result,
          effects: [{ type: 'revoke-lease', lease, id: 1_000_000, timeoutMs: 1000 }, ...result.effects],
        };
      },
    },
  },
  {
    name: 'a candidate believes what others pledged for an older term',
    breaks: ['I2', 'S8'],
    seeds: 300,
    planted: views((view, node) => {
      const pledges = new Map(view.pledges);
      for (const [n, p] of pledges) {
        if (n === node) continue;
        pledges.set(n, { ...p, record: { ...p.record, term: (view.term.value + 1n) as never } });
      }
      return { ...view, pledges };
    }),
  },
  {
    name: 'a leader writes without looking whether the key is still its own',
    breaks: ['I1', 'I2', 'I4'],
    seeds: 300,
    planted: effects((e) => {
      if (e.type !== 'transact' || e.transaction.then.some((o) => o.type === 'put' && o.key === keys.term)) return e;
      const compare = e.transaction.compare.filter((c) => c.key !== keys.leader);
      return { ...e, transaction: { ...e.transaction, compare } };
    }),
  },
  ...FORCED_MUTANTS,
  ...DOOR_MUTANTS,
];
