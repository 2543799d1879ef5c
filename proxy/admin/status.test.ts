import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteRecord } from '../../election/store/records.ts';
import { exampleStatus, member } from '../../test/support/proxy-status.ts';
import { buildStatus, notReadyReason } from './status.ts';

test('the status names term, leader, route, every node that is known, and every proxy', () => {
  const report = buildStatus(exampleStatus());
  assert.deepEqual([report.cluster, report.term, report.writable], ['main', 7, true]);
  assert.deepEqual(report.leader, { node: 'node1', address: '127.0.0.1:5001' });
  assert.deepEqual(report.route, { term: 7, hold: false, seq: 12 });
  assert.deepEqual(
    report.nodes.map(({ node, role, state, lagBytes, freshnessMs }) => [node, role, state, lagBytes, freshnessMs]),
    [
      ['node1', 'leader', 'LEADER_OPEN', 0, 0],
      ['node2', 'follower', 'FOLLOWER', 2048, 300],
      ['node3', 'none', 'GONE', null, null],
    ],
  );
  const node2 = report.nodes[1];
  assert.deepEqual(
    [node2?.flushedLsn, node2?.replayedLsn, node2?.timeline, node2?.postgresPid, node2?.agentPid],
    ['0/3000200', '0/3000100', 3, 5003, 5004],
  );
  // Of itself a proxy knows more than etcd does.
  assert.deepEqual(
    report.proxies.map(({ id, heldWrites, inFlight }) => [id, heldWrites, inFlight]),
    [
      ['proxy1', 2, 1],
      ['proxy2', 3, 4],
    ],
  );
  assert.deepEqual([report.self.heldForMs, report.etcdAnsweredMs], [500, 200]);
  assert.doesNotThrow(() => JSON.stringify(report));
});

test('a node that rewinds or is fenced is not called a follower', () => {
  for (const state of ['REWINDING', 'FENCED', 'CLONING', 'INIT'] as const) {
    const status = exampleStatus();
    const members = new Map(status.view.members);
    members.set('node2', member('node2', 5002, { state }));
    assert.equal(buildStatus({ ...status, view: { ...status.view, members } }).nodes[1]?.role, 'none');
  }
});

test('before anything is known the status is empty, not wrong', () => {
  const { view, freshness } = exampleStatus();
  const report = buildStatus(
    exampleStatus({
      view: { ...view, route: null, members: new Map(), proxies: new Map(), confirmedAtMs: -Infinity },
      freshness: { ...freshness, nodes: new Map() },
      leader: null,
    }),
  );
  assert.deepEqual([report.term, report.leader, report.route, report.etcdAnsweredMs], [0, null, null, null]);
  assert.deepEqual([report.nodes, report.proxies], [[], []]);
});

test('ready means: etcd was heard, and there is a leader or a follower that may be read', () => {
  const { view, freshness } = exampleStatus();
  const route = { ...(view.route as RouteRecord), hold: true };
  const nobody = { ...freshness, nodes: new Map() };
  assert.equal(notReadyReason(exampleStatus()), null);
  assert.equal(notReadyReason(exampleStatus({ leader: null, view: { ...view, route } })), null);
  assert.match(notReadyReason(exampleStatus({ leader: null, freshness: nobody })) ?? '', /neither a leader nor/);
  assert.match(notReadyReason(exampleStatus({ view: { ...view, confirmedAtMs: -Infinity } })) ?? '', /etcd/);
  assert.match(notReadyReason(exampleStatus({ draining: true })) ?? '', /stopping/);
  assert.match(notReadyReason(exampleStatus({ standsAside: true })) ?? '', /drill/);
});
