import type { MetricObjectWithValues, MetricValue, Registry } from 'prom-client';
import type { Buckets } from './buckets.ts';

export interface LabelledBuckets {
  readonly labels: Readonly<Record<string, string>>;
  readonly buckets: Buckets;
}

/**
 * Puts histograms of our own into a prom-client registry: prom-client's hash their labels at each observation, ours are
 * resolved beforehand. `read` gives what there is at the moment of a scrape.
 */
export function exposeBuckets(
  registry: Registry,
  name: string,
  help: string,
  read: () => Iterable<LabelledBuckets>,
): void {
  registry.registerMetric({
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    reset: () => undefined,
    get: () => Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values: valuesOf(name, read()) }),
  } as never);
}

type Value = MetricValue<string> & { readonly metricName: string };

function valuesOf(name: string, all: Iterable<LabelledBuckets>): MetricObjectWithValues<Value>['values'] {
  const values: Value[] = [];
  for (const { labels, buckets } of all) {
    let below = 0;
    for (const [i, bound] of buckets.bounds.entries()) {
      below += buckets.counts[i] as number;
      values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: String(bound / 1000) }, value: below });
    }
    values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: buckets.count });
    values.push({ metricName: `${name}_sum`, labels, value: buckets.sumMs / 1000 });
    values.push({ metricName: `${name}_count`, labels, value: buckets.count });
  }
  return values;
}
