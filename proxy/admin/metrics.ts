import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { buildStatus } from './status.ts';
import type { AdminProviders, NodeRole, ProxyMetrics } from './types.ts';

export interface MetricsRegistry extends ProxyMetrics {
  /** Prometheus text. Gauges are read from the providers at this moment. */
  render(providers: AdminProviders): Promise<string>;
  readonly contentType: string;
  /** Statements that a node served so far, by role; for SHOW NODES. */
  served(node: string): Readonly<Record<NodeRole, number>>;
}

/** A kind is a label: a mistake that made kinds of texts must not make time series without end. */
const MAX_KINDS = 60;
const SECONDS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** One for each process. Its registry is its own, so that several proxies can live in one test process. */
export function createProxyMetrics(): MetricsRegistry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = new StatementTotals();
  const events = createEvents(registry);
  const gauges = createGauges(registry);
  return {
    statements: counters,
    contentType: registry.contentType,
    served: (node) => ({ leader: counters.total(node, 'leader'), follower: counters.total(node, 'follower') }),
    holdEnded: (durationMs, outcome) => events.hold.observe({ outcome }, durationMs / 1000),
    retried: (reason) => events.retries.inc({ reason }),
    causalWaitEnded: (durationMs, outcome) => events.causalWait.observe({ outcome }, durationMs / 1000),
    clientError: (sqlState) => events.errors.inc({ sqlstate: sqlState }),
    async render(providers) {
      readGauges(gauges, providers);
      gauges.statements.reset();
      counters.each((node, role, kind, count) => gauges.statements.inc({ node, role, class: kind }, count));
      return registry.metrics();
    },
  };
}

/** prom-client hashes labels at each increment; here a hit is two look-ups and an addition. */
class StatementTotals {
  readonly #leader = new Map<string, Map<string, { count: number }>>();
  readonly #follower = new Map<string, Map<string, { count: number }>>();

  count(node: string, role: NodeRole, kind: string): void {
    const cell =
      (role === 'leader' ? this.#leader : this.#follower).get(node)?.get(kind) ?? this.#add(node, role, kind);
    cell.count++;
  }

  total(node: string, role: NodeRole): number {
    let sum = 0;
    for (const cell of (role === 'leader' ? this.#leader : this.#follower).get(node)?.values() ?? []) sum += cell.count;
    return sum;
  }

  each(visit: (node: string, role: NodeRole, kind: string, count: number) => void): void {
    for (const role of ['leader', 'follower'] as const) {
      for (const [node, kinds] of role === 'leader' ? this.#leader : this.#follower) {
        for (const [kind, cell] of kinds) visit(node, role, kind, cell.count);
      }
    }
  }

  #add(node: string, role: NodeRole, kind: string): { count: number } {
    const nodes = role === 'leader' ? this.#leader : this.#follower;
    let kinds = nodes.get(node);
    if (kinds === undefined) nodes.set(node, (kinds = new Map()));
    const name = kinds.size < MAX_KINDS ? kind : 'other';
    let cell = kinds.get(name);
    if (cell === undefined) kinds.set(name, (cell = { count: 0 }));
    return cell;
  }
}

function createEvents(registry: Registry) {
  const registers = [registry];
  return {
    hold: new Histogram({
      name: 'leasehold_hold_duration_seconds',
      help: 'How long units of leader work waited for a leader, by how the wait ended',
      labelNames: ['outcome'],
      buckets: SECONDS,
      registers,
    }),
    causalWait: new Histogram({
      name: 'leasehold_causal_wait_seconds',
      help: 'How long reads waited for a follower that is fresh enough, by who served them',
      labelNames: ['outcome'],
      buckets: SECONDS,
      registers,
    }),
    retries: new Counter({
      name: 'leasehold_retries_total',
      help: 'Statements run again elsewhere before anything of their answer was passed on',
      labelNames: ['reason'],
      registers,
    }),
    errors: new Counter({
      name: 'leasehold_client_errors_total',
      help: 'Errors that the proxy itself gave to clients',
      labelNames: ['sqlstate'],
      registers,
    }),
  };
}

type Gauges = ReturnType<typeof createGauges>;

function createGauges(registry: Registry) {
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `leasehold_${name}`, help, labelNames, registers: [registry] });
  const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
    new Counter({ name: `leasehold_${name}`, help, labelNames, registers: [registry] });
  return {
    statements: counter('statements_total', 'Statements by the node that served them', 'node', 'role', 'class'),
    cacheHits: counter('classification_cache_hits_total', 'Statements classified from the cache'),
    cacheMisses: counter('classification_cache_misses_total', 'Statements that went through the parser'),
    cacheEntries: gauge('classification_cache_entries', 'Classifications in the cache'),
    parseSeconds: counter('classification_parse_seconds_total', 'Time spent in the parser'),
    clients: gauge('clients', 'Client connections'),
    maxClients: gauge('max_clients', 'Most client connections that are allowed'),
    held: gauge('held_writes', 'Units of leader work that wait for a leader'),
    inFlight: gauge('in_flight', 'Units of leader work under way'),
    term: gauge('term', 'The term that the route names'),
    hold: gauge('route_hold', '1 while the route tells proxies to hold leader work'),
    writable: gauge('writable', '1 while this proxy may send leader work'),
    etcdAge: gauge('etcd_answered_seconds', 'How long ago etcd last answered'),
    poolServers: gauge('pool_servers', 'Server connections', 'database', 'user', 'node', 'role', 'state'),
    poolClients: gauge('pool_clients', 'Clients of a pool', 'database', 'user', 'node', 'role', 'state'),
    poolWait: gauge(
      'pool_max_wait_seconds',
      'How long the first of a pool’s queue waits',
      'database',
      'user',
      'node',
      'role',
    ),
    lag: gauge('node_lag_bytes', 'WAL that a node has not replayed yet', 'node', 'role'),
    freshness: gauge('node_freshness_seconds', 'Age of what a node is known to show', 'node', 'role'),
    shadow: counter(
      'shadow_reads_total',
      'Reads of shadowed sessions, by where the split would have sent them',
      'outcome',
    ),
    shadowStale: counter('shadow_stale_total', 'Of these, reads that a naive split would have served stale'),
    usable: gauge('node_usable', '1 where this proxy reads from the node', 'node', 'role'),
  };
}

function readGauges(gauges: Gauges, providers: AdminProviders): void {
  for (const each of Object.values(gauges)) each.reset();
  const status = providers.status();
  const report = buildStatus(status);
  gauges.cacheHits.inc(status.classifier.hits);
  gauges.cacheMisses.inc(status.classifier.misses);
  gauges.cacheEntries.set(status.classifier.entries);
  gauges.parseSeconds.inc(status.classifier.parseMs / 1000);
  gauges.clients.set(status.clients);
  gauges.maxClients.set(status.maxClients);
  gauges.held.set(status.heldWrites);
  gauges.inFlight.set(status.inFlight);
  gauges.term.set(report.term);
  gauges.hold.set(report.route?.hold === true ? 1 : 0);
  gauges.writable.set(report.writable ? 1 : 0);
  if (report.etcdAnsweredMs !== null) gauges.etcdAge.set(report.etcdAnsweredMs / 1000);
  for (const node of report.nodes) {
    const labels = { node: node.node, role: node.role };
    if (node.lagBytes !== null) gauges.lag.set(labels, node.lagBytes);
    if (node.freshnessMs !== null) gauges.freshness.set(labels, node.freshnessMs / 1000);
    gauges.usable.set(labels, node.usable ? 1 : 0);
  }
  for (const row of providers.shadow()) {
    for (const outcome of ['follower_at_once', 'follower_after_wait', 'leader', 'no_follower'] as const) {
      gauges.shadow.inc({ outcome }, row[outcome]);
    }
    gauges.shadowStale.inc(row.naive_stale);
  }
  for (const pool of providers.pools()) {
    const labels = { database: pool.database, user: pool.user, node: pool.node, role: pool.role };
    gauges.poolServers.set({ ...labels, state: 'active' }, pool.sv_active);
    gauges.poolServers.set({ ...labels, state: 'idle' }, pool.sv_idle);
    gauges.poolServers.set({ ...labels, state: 'login' }, pool.sv_login);
    gauges.poolServers.set({ ...labels, state: 'pinned' }, pool.sv_pinned);
    gauges.poolClients.set({ ...labels, state: 'active' }, pool.cl_active);
    gauges.poolClients.set({ ...labels, state: 'waiting' }, pool.cl_waiting);
    gauges.poolWait.set(labels, pool.maxwait_ms / 1000);
  }
}
