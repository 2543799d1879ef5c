import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CoreDriver } from '../../test/support/core-driver.ts';
import { memberOf, termOf, viewOf } from '../../test/support/election-view.ts';
import type { MemberRecord } from '../store/records.ts';
import { openLeader } from './facts.ts';

/** Whether `a` copies from leader `b` of term 4, which shows itself so and records k acknowledgements. */
function copies(shown: Partial<MemberRecord>, k: number): boolean {
  const record = { node: 'b', term: termOf(4), bootId: 'b-1', address: { host: 'b', port: 5432 } };
  const view = viewOf({
    term: 4,
    sync: { term: termOf(4), leader: 'b', members: k === 0 ? [] : ['c'], k },
    members: [memberOf('b', { term: termOf(4), ...shown })],
  });
  const route = { term: termOf(4), leader: 'b', address: record.address, hold: true, seq: 3, nextXid: '740' };
  const leader = { record, createRevision: 50, modRevision: 50, lease: null };
  const { state } = new CoreDriver({ syncAcks: 2, withoutFollower: 'hold' });
  return openLeader({ ...state, view: { ...view, leader, leaderCreateRevision: 50, route } }) !== null;
}

test('E11: nodes copy from an open leader, and from a held one only when its quorum has confirmed its term', () => {
  assert.equal(copies({ state: 'LEADER_OPEN' }, 2), true);
  assert.equal(copies({ state: 'LEADER_HELD' }, 0), false);
  assert.equal(copies({ state: 'LEADER_HELD' }, 1), false);
});

test('a held leader that waits for more followers lets those copy from it which must', () => {
  for (const k of [0, 1]) assert.equal(copies({ state: 'LEADER_HELD', confirmed: true }, k), true);
  assert.equal(copies({ state: 'LEADER_HELD', confirmed: true, term: termOf(3) }, 1), false);
});
