import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteRecord } from '../../election/store/records.ts';
import { exampleProviders, exampleStatus, member } from '../../test/support/proxy-status.ts';
import { createProxyMetrics } from './metrics.ts';
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
});

test('metrics count statements by node, role and class, and read the gauges when asked', async () => {
  const metrics = createProxyMetrics();
  for (let i = 0; i < 3; i++) metrics.statements.count('node2', 'follower', 'read');
  metrics.statements.count('node1', 'leader', 'write');
  metrics.holdEnded(420, 'served');
  metrics.retried('recovery-conflict');
  metrics.clientError('57P03');
  metrics.causalWaitEnded(3, 'follower');
  const text = await metrics.render(exampleProviders());
  for (const line of [
    'leasehold_statements_total{node="node2",role="follower",class="read"} 3',
    'leasehold_statements_total{node="node1",role="leader",class="write"} 1',
    'leasehold_hold_duration_seconds_sum{outcome="served"} 0.42',
    'leasehold_retries_total{reason="recovery-conflict"} 1',
    'leasehold_client_errors_total{sqlstate="57P03"} 1',
    'leasehold_held_writes 2',
    'leasehold_term 7',
    'leasehold_route_hold 0',
    'leasehold_node_lag_bytes{node="node2",role="follower"} 2048',
    'leasehold_node_freshness_seconds{node="node2",role="follower"} 0.3',
    'leasehold_classification_cache_hits_total 90',
    'leasehold_pool_servers{database="app",user="app",node="node2",role="follower",state="idle"} 3',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  assert.match(text, /process_cpu_seconds_total/);
  assert.deepEqual(metrics.served('node2'), { leader: 0, follower: 3 });
  // A second scrape does not count again.
  assert.match(await metrics.render(exampleProviders()), /class="read"} 3\n/);
});

test('classes of statements cannot make time series without end', async () => {
  const metrics = createProxyMetrics();
  for (let i = 0; i < 1000; i++) metrics.statements.count('node1', 'leader', `kind${i}`);
  const text = await metrics.render(exampleProviders());
  assert.ok(text.split('\n').filter((line) => line.startsWith('leasehold_statements_total{')).length <= 61);
  assert.equal(metrics.served('node1').leader, 1000);
});
