import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleMetrics, exampleProviders } from '../../test/support/proxy-status.ts';
import { EMPTY_PLAN, type UnitPlan } from '../session/plan.ts';
import { Activity } from '../metrics/activity.ts';
import { Unit } from '../session/unit.ts';
import type { MetricsRegistry } from './metrics.ts';
import type { PoolRow } from './types.ts';

const plan = (label: string, mayWrite = false): UnitPlan => ({ ...EMPTY_PLAN, label, mayWrite });
const place = (node: string, role: 'leader' | 'follower') => ({ node, host: 'h', port: 1, role, term: null });

function run(
  metrics: MetricsRegistry,
  node: string,
  role: 'leader' | 'follower',
  of: UnitPlan,
  database = 'app',
): void {
  const activity = new Activity(metrics.log, { user: 'ann', database, application: () => 'test' });
  const unit = new Unit();
  unit.plan = of;
  unit.key = `SELECT ${of.label}`;
  activity.begin();
  activity.sent(place(node, role), unit);
  activity.end(unit, false, false);
}

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format; throws for what is no such text. */
function parseExposition(text: string): { types: Map<string, string>; samples: Sample[] } {
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      assert.ok(!types.has(type[1] as string), `two TYPE lines: ${line}`);
      types.set(type[1] as string, type[2] as string);
      continue;
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\+Inf|-Inf|[Nn]a[Nn]|[-+\d.e]+)$/.exec(line);
    assert.ok(sample !== null, `no sample: ${line}`);
    const labels: Record<string, string> = {};
    let rest = sample[2] ?? '';
    while (rest !== '') {
      const pair = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)",?/.exec(rest);
      assert.ok(pair !== null, `no labels: ${line}`);
      labels[pair[1] as string] = pair[2] as string;
      rest = rest.slice(pair[0].length);
    }
    samples.push({
      name: sample[1] as string,
      labels,
      value: Number((sample[3] as string).replace('Inf', 'Infinity')),
    });
  }
  return { types, samples };
}

test('metrics count statements by node, role and class, and read the gauges when asked', async () => {
  const metrics = exampleMetrics();
  for (let i = 0; i < 3; i++) run(metrics, 'node2', 'follower', plan('read'));
  run(metrics, 'node1', 'leader', plan('write', true));
  metrics.holdEnded(420, 'served');
  metrics.retried('recovery-conflict');
  metrics.clientError('57P03');
  metrics.serverError('23505');
  metrics.cancelled();
  metrics.serverConnection('opened');
  metrics.causalWaitEnded(3, 'follower');
  assert.deepEqual(metrics.errors(), { '57P03': 1, '23505': 1 });
  assert.deepEqual(metrics.holds, { served: 1, refused: 0, gone: 0 });
  const text = await metrics.render(exampleProviders());
  for (const line of [
    'leasehold_statements_total{node="node2",role="follower",class="read"} 3',
    'leasehold_statements_total{node="node1",role="leader",class="write"} 1',
    'leasehold_query_duration_seconds_count{class="read",node="node2",role="follower"} 3',
    'leasehold_query_duration_seconds_bucket{class="write",node="node1",role="leader",le="60"} 1',
    'leasehold_transaction_duration_seconds_count 4',
    'leasehold_transactions_total{database="app"} 4',
    'leasehold_connection_wait_seconds_count 4',
    'leasehold_hold_duration_seconds_sum{outcome="served"} 0.42',
    'leasehold_retries_total{reason="recovery-conflict"} 1',
    'leasehold_client_errors_total{sqlstate="57P03"} 1',
    'leasehold_server_errors_total{sqlstate="23505"} 1',
    'leasehold_cancels_total 1',
    'leasehold_server_connections_total{outcome="opened"} 1',
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
  assert.match(text, /leasehold_build_info\{version="[^"]+",node_version="v\d/);
  assert.match(text, /nodejs_eventloop_lag_p99_seconds/);
  assert.deepEqual(metrics.served('node2'), { leader: 0, follower: 3 });
  // A second scrape does not count again.
  assert.match(await metrics.render(exampleProviders()), /class="read"} 3\n/);
  metrics.close();
});

test('the exposition is well formed: names, types, units, and histograms that add up', async () => {
  const metrics = exampleMetrics();
  run(metrics, 'node1', 'leader', plan('write', true));
  metrics.parsed(0.3);
  metrics.holdEnded(5, 'served');
  metrics.connection('accepted');
  const { types, samples } = parseExposition(await metrics.render(exampleProviders()));
  for (const { name, labels, value } of samples) {
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
    const type = types.get(family);
    assert.ok(type !== undefined, `${name} has no TYPE`);
    if (!name.startsWith('leasehold_')) continue;
    assert.ok(Number.isFinite(value), name);
    if (type === 'counter') assert.match(name, /_total$/);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb)(_|$)/);
    if (!name.endsWith('_bucket')) continue;
    const same = (other: Sample) =>
      Object.entries(labels).every(([label, text]) => label === 'le' || other.labels[label] === text);
    const buckets = samples.filter((other) => other.name === name && same(other));
    const values = buckets.map((bucket) => bucket.value);
    assert.deepEqual(
      values,
      values.toSorted((a, b) => a - b),
      `${name} does not grow`,
    );
    const count = samples.find((other) => other.name === `${family}_count` && same(other));
    assert.equal(buckets.at(-1)?.labels['le'], '+Inf');
    assert.equal(buckets.at(-1)?.value, count?.value, name);
  }
  metrics.close();
});

test('nothing that clients send makes time series without end', async () => {
  const metrics = exampleMetrics();
  for (let i = 0; i < 1000; i++) {
    run(metrics, 'node1', 'leader', plan(`kind${i}`), `database${i}`);
    metrics.serverError(`Q${i}`);
    run(metrics, `node${i}`, 'follower', plan('read'));
  }
  const providers = exampleProviders();
  const [pool] = providers.pools() as [PoolRow];
  const none = { sv_active: 0, sv_idle: 0, sv_login: 0, cl_waiting: 0 };
  const pools = Array.from({ length: 2000 }, (_, i) => ({
    ...pool,
    ...(i % 2 === 0 ? none : {}),
    database: `bogus${i}`,
  }));
  const { samples } = parseExposition(await metrics.render({ ...providers, pools: () => pools }));
  const named = samples.filter(({ labels }) => labels['database']?.startsWith('bogus') === true);
  assert.ok(named.length > 0 && named.length <= 300 * 7, String(named.length));
  assert.ok(named.every(({ labels }) => Number(labels['database']?.slice(5)) % 2 === 1));
  const of = (name: string): number => samples.filter((sample) => sample.name === name).length;
  assert.ok(of('leasehold_statements_total') <= 61 + 51 * 2, String(of('leasehold_statements_total')));
  assert.ok(of('leasehold_server_errors_total') <= 301);
  assert.ok(of('leasehold_queries_total') <= 201);
  assert.ok(samples.length - named.length < 3500, String(samples.length));
  assert.equal(metrics.served('node1').leader, 1000);
  metrics.close();
});
