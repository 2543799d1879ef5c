import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_LSN, parseTerm } from '../../common/lsn.ts';
import type { MemberRecord } from '../../election/store/records.ts';
import type { ClusterView } from '../cluster/types.ts';
import { monitorTargets, sameTargets } from './targets.ts';

function member(node: string, port: number): MemberRecord {
  return {
    node,
    address: { host: 'h', port },
    apiUrl: 'http://h',
    state: 'FOLLOWER',
    term: parseTerm(3),
    timeline: 1,
    flushedLsn: NO_LSN,
    replayedLsn: NO_LSN,
    streaming: true,
    systemId: null,
    postgresVersion: null,
    postgresPid: null,
    agentPid: 1,
    priority: 50,
    noFailover: false,
    note: null,
  };
}

const route = { term: parseTerm(3), leader: 'a', address: { host: 'h', port: 1 }, hold: false, seq: 1, nextXid: null };

function view(members: readonly MemberRecord[], leads = true): ClusterView {
  return {
    route: leads ? route : null,
    members: new Map(members.map((each) => [each.node, each])),
    proxies: new Map(),
    history: new Map(),
    pause: null,
    settings: null,
    confirmedAtMs: 0,
  };
}

test('members are sampled, and the route’s leader even when its own record is gone', () => {
  const targets = monitorTargets(view([member('c', 3), member('b', 2)]));
  assert.deepEqual(
    targets.nodes.map(({ node, port }) => [node, port]),
    [
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ],
  );
  assert.equal(targets.leader, 'a');
});

test('without a route there is no leader and no term', () => {
  const targets = monitorTargets(view([member('b', 2)], false));
  assert.equal(targets.leader, null);
  assert.equal(targets.term, 0n);
});

test('a node follows the term that its agent says, and nobody in any other state', () => {
  const followsOf = (changes: Partial<MemberRecord>) =>
    monitorTargets(view([{ ...member('b', 2), ...changes }])).nodes.find(({ node }) => node === 'b')?.follows;
  assert.equal(followsOf({}), 3n);
  assert.equal(followsOf({ state: 'PLEDGED', term: parseTerm(4) }), null);
  assert.equal(followsOf({ state: 'REWINDING' }), null);
  assert.equal(followsOf({ term: parseTerm(0) }), null);
});

test('targets are the same only if term, leader, and every address and followed term are', () => {
  const targets = monitorTargets(view([member('b', 2)]));
  assert.ok(sameTargets(targets, monitorTargets(view([member('b', 2)]))));
  assert.equal(sameTargets(targets, monitorTargets(view([member('b', 9)]))), false);
  assert.equal(sameTargets(targets, monitorTargets(view([{ ...member('b', 2), term: parseTerm(2) }]))), false);
});
