import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyEntry, lsnOf, memberOf, pledgeOf, termOf, viewOf } from '../../test/support/election-view.ts';
import type { PledgeRecord } from '../store/records.ts';
import { type Relation, relation } from './rejoin.ts';

// a led term 2 (timeline 2); b led term 3 (also timeline 2, from term 1), and leads term 4 (timeline 3, from 3).
const history = [historyEntry(1, 0, 1), historyEntry(2, 1, 2), historyEntry(3, 1, 2), historyEntry(4, 3, 3)];

const leader = memberOf('b', {
  state: 'LEADER_OPEN',
  term: termOf(4),
  timeline: 3,
  forks: [
    { timeline: 1, endLsn: lsnOf(100) },
    { timeline: 2, endLsn: lsnOf(500) },
  ],
  rewindable: true,
});

const cases: readonly {
  readonly name: string;
  readonly timeline: number;
  readonly flushed: number;
  readonly lineage: number;
  readonly pledges?: readonly PledgeRecord[];
  readonly is: Relation;
}[] = [
  { name: 'a follower of the leader’s own timeline follows', timeline: 3, flushed: 800, lineage: 4, is: 'follow' },
  { name: 'a node that stands before the fork follows', timeline: 2, flushed: 400, lineage: 3, is: 'follow' },
  { name: 'a node that stands exactly at the fork follows', timeline: 2, flushed: 500, lineage: 3, is: 'follow' },
  { name: 'a node that stood still two terms ago follows', timeline: 1, flushed: 90, lineage: 1, is: 'follow' },
  { name: 'a node that wrote past the fork rewinds', timeline: 2, flushed: 501, lineage: 3, is: 'rewind' },
  {
    name: 'a foreign timeline of the same number is cloned over, however far it goes',
    timeline: 2,
    flushed: 300,
    lineage: 2,
    is: 'clone',
  },
  { name: 'a copy of unknown origin is cloned over', timeline: 2, flushed: 300, lineage: 0, is: 'clone' },
  {
    name: 'a copy that stands on another timeline than its term made is cloned over',
    timeline: 2,
    flushed: 300,
    lineage: 1,
    is: 'clone',
  },
  {
    name: 'half a record past the fork does not matter where both had pledged the same',
    timeline: 2,
    flushed: 510,
    lineage: 3,
    pledges: [pledgeOf('c', 4, 3, 510), pledgeOf('b', 4, 3, 510)],
    is: 'follow',
  },
  {
    name: 'a pledge for an earlier term proves nothing of the end of this one',
    timeline: 2,
    flushed: 510,
    lineage: 3,
    pledges: [pledgeOf('c', 3, 3, 510), pledgeOf('b', 3, 3, 510)],
    is: 'rewind',
  },
];
for (const { name, timeline, flushed, lineage, pledges, is } of cases) {
  test(`E7: ${name}`, () => {
    const view = viewOf({ term: 4, history, members: [leader], pledges: pledges ?? [] });
    assert.equal(relation(view, 'c', { timeline, flushedLsn: lsnOf(flushed) }, termOf(lineage), leader), is);
  });
}
