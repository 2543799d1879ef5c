import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ALONE,
  barrierReached,
  inheritedSync,
  keeps,
  planSyncChange,
  pledgesNeeded,
  sameSet,
  type SyncSet,
  wantedSync,
} from './sync-quorum.ts';

const NODES = ['b', 'c', 'd', 'e'];

function subsets(names: readonly string[]): string[][] {
  return names.reduce<string[][]>((all, name) => [...all, ...all.map((set) => [...set, name])], [[]]);
}

/** Every durability set over up to four followers. */
const SETS: readonly SyncSet[] = subsets(NODES).flatMap((members) =>
  members.length === 0 ? [ALONE] : members.map((_, i) => ({ members, k: i + 1 })),
);

const show = (set: SyncSet): string => `${set.k} of (${set.members.join(', ')})`;

test('E3: every set of pledges that may elect meets every quorum that may acknowledge, exactly when `keeps` says so', () => {
  for (const applied of SETS) {
    for (const recorded of SETS) {
      const needed = pledgesNeeded(recorded);
      const electing = subsets(recorded.members).filter((p) => needed !== null && p.length >= needed);
      const acknowledging = subsets(applied.members).filter((a) => a.length >= applied.k);
      const safe = electing.every((pledged) => acknowledging.every((have) => have.some((n) => pledged.includes(n))));
      assert.equal(keeps(applied, recorded), safe, `PostgreSQL ${show(applied)}, record ${show(recorded)}`);
    }
  }
});

test('nobody but the leader is eligible while the record says that it is alone', () => {
  assert.equal(pledgesNeeded(ALONE), null);
  assert.equal(pledgesNeeded({ members: ['b', 'c'], k: 1 }), 2);
  assert.equal(pledgesNeeded({ members: ['b', 'c', 'd', 'e'], k: 2 }), 3);
});

test('E4: every way from one durability set to another keeps the record at each step, and arrives', () => {
  for (const from of SETS) {
    for (const target of SETS) {
      let recorded = from;
      let applied = from;
      let steps = 0;
      for (;;) {
        const plan = planSyncChange(recorded, target);
        if (plan === null) break;
        assert.ok(++steps <= 4, `no end on the way from ${show(from)} to ${show(target)}`);
        const order = plan.order === 'apply-first' ? ['apply', 'record'] : ['record', 'apply'];
        for (const part of order) {
          if (part === 'apply') applied = plan.next;
          else recorded = plan.next;
          assert.ok(
            keeps(applied, recorded),
            `from ${show(from)} to ${show(target)}: PostgreSQL ${show(applied)}, record ${show(recorded)}`,
          );
        }
      }
      assert.ok(sameSet(recorded, target) && sameSet(applied, target));
    }
  }
});

test('a step may be given up half-way: PostgreSQL told and the record not, or the record written and PostgreSQL not told', () => {
  for (const from of SETS) {
    for (const target of SETS) {
      const plan = planSyncChange(from, target);
      if (plan === null) continue;
      const half = plan.order === 'apply-first' ? [plan.next, from] : [from, plan.next];
      assert.ok(keeps(half[0] as SyncSet, half[1] as SyncSet), `${show(from)} to ${show(target)}`);
    }
  }
});

const streams = (node: string) => ({ node, streaming: true, missingForMs: 0 });
const away = (node: string, missingForMs: number) => ({ node, streaming: false, missingForMs });
const present = { members: ['b', 'c'], k: 1 };
const goOn = { syncAcks: 1, withoutFollower: 'go-on', patienceMs: 3000 } as const;
const hold = { ...goOn, withoutFollower: 'hold' } as const;

const wanted: readonly {
  readonly name: string;
  readonly standbys: Parameters<typeof wantedSync>[1];
  readonly options: Parameters<typeof wantedSync>[2];
  readonly before?: SyncSet;
  readonly after: SyncSet;
}[] = [
  {
    name: 'a follower that has just gone is waited for',
    standbys: [streams('b'), away('c', 100)],
    options: goOn,
    after: present,
  },
  {
    name: 'a follower that is gone for long is dropped',
    standbys: [streams('b'), away('c', 3000)],
    options: goOn,
    after: { members: ['b'], k: 1 },
  },
  {
    name: 'a new follower that streams is taken in',
    standbys: [streams('b'), streams('c'), streams('d')],
    options: goOn,
    after: { members: ['b', 'c', 'd'], k: 1 },
  },
  {
    name: 'without any follower a leader that may goes on alone',
    standbys: [away('b', 9000), away('c', 9000)],
    options: goOn,
    after: ALONE,
  },
  {
    name: 'without any follower a leader that must not keeps the set and waits',
    standbys: [away('b', 9000), away('c', 9000)],
    options: hold,
    after: present,
  },
  {
    name: 'a leader that was alone takes the first follower',
    standbys: [streams('c')],
    options: hold,
    before: ALONE,
    after: { members: ['c'], k: 1 },
  },
  {
    name: 'two acknowledgements fall to one while one follower is left',
    standbys: [streams('b'), away('c', 9000)],
    options: { ...goOn, syncAcks: 2 },
    before: { members: ['b', 'c'], k: 2 },
    after: { members: ['b'], k: 1 },
  },
];
for (const { name, standbys, options, before, after } of wanted) {
  test(name, () => assert.deepEqual(wantedSync(before ?? present, standbys, options), after));
}

test('a raise is recorded only when k of its members have flushed what was acknowledged before', () => {
  const target = { members: ['b', 'c'], k: 2 };
  const flushed = (b: bigint, c: bigint) => [
    { node: 'b', flushedLsn: b },
    { node: 'c', flushedLsn: c },
    { node: 'stranger', flushedLsn: 1000n },
  ];
  assert.equal(barrierReached(target, flushed(100n, 99n), 100n), false);
  assert.equal(barrierReached(target, flushed(100n, 100n), 100n), true);
});

test('E5: the durability record that a new leader begins with finds everything its predecessor acknowledged', () => {
  for (const members of subsets(NODES)) {
    for (let k = 1; k <= members.length; k++) {
      for (const winner of ['a', ...NODES]) {
        const next = inheritedSync({ leader: 'a', members, k }, winner);
        const needed = pledgesNeeded(next);
        assert.ok(!next.members.includes(winner));
        for (const acknowledged of subsets(members).filter((s) => s.length >= k)) {
          // It is on the old leader, on these, and on the winner, whom the election chose for that.
          const holders = new Set([...acknowledged, 'a', winner]);
          for (const pledged of subsets(next.members).filter((p) => needed !== null && p.length >= needed)) {
            assert.ok(
              pledged.some((n) => holders.has(n)),
              `${show({ members, k })}: ${acknowledged.join()} acknowledged, ${winner} won, ${pledged.join()} elect without it`,
            );
          }
        }
      }
    }
  }
});

test('E5: after a leader that was alone only the one who took over is eligible', () => {
  assert.deepEqual(inheritedSync({ leader: 'a', members: [], k: 0 }, 'a'), { members: [], k: 0 });
});
