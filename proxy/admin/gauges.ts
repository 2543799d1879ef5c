import { Counter, Gauge, type Registry } from 'prom-client';
import { buildStatus } from './status.ts';
import type { AdminProviders, PoolRow } from './types.ts';
import { VERSION } from './version.ts';

export type Gauges = ReturnType<typeof createGauges>;

export function createGauges(registry: Registry) {
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `leasehold_${name}`, help, labelNames, registers: [registry] });
  const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
    new Counter({ name: `leasehold_${name}`, help, labelNames, registers: [registry] });
  return {
    statements: counter('statements_total', 'Statements by the node that served them', 'node', 'role', 'class'),
    serverErrors: counter('server_errors_total', 'Errors of servers that were passed on to clients', 'sqlstate'),
    transactions: counter('transactions_total', 'Transactions that ended', 'database'),
    queries: counter('queries_total', 'Statements (units of work) that servers answered', 'database'),
    received: counter('client_received_bytes_total', 'Bytes from clients', 'database'),
    sent: counter('client_sent_bytes_total', 'Bytes to clients', 'database'),
    knownStatements: gauge('statement_table_entries', 'Statements of SHOW STATEMENTS'),
    prepared: gauge('prepared_statements', 'Protocol-level prepared statements of all clients'),
    waiting: gauge('waiting_clients', 'Clients that wait for a server connection'),
    draining: gauge('draining', '1 while this proxy takes no new clients'),
    paused: gauge('paused', '1 while an operator has paused some database'),
    failoverPaused: gauge('failover_paused', '1 while an operator has paused automatic failover of the cluster'),
    buildInfo: gauge('build_info', 'Always 1', 'version', 'node_version'),
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

export function readGauges(gauges: Gauges, providers: AdminProviders): void {
  for (const each of Object.values(gauges)) each.reset();
  const status = providers.status();
  const report = buildStatus(status);
  gauges.buildInfo.set({ version: VERSION, node_version: process.version }, 1);
  gauges.cacheHits.inc(status.classifier.hits);
  gauges.cacheMisses.inc(status.classifier.misses);
  gauges.cacheEntries.set(status.classifier.entries);
  gauges.parseSeconds.inc(status.classifier.parseMs / 1000);
  gauges.clients.set(status.clients);
  gauges.prepared.set(status.prepared);
  gauges.waiting.set(status.waiting);
  gauges.draining.set(status.draining ? 1 : 0);
  gauges.paused.set(status.paused ? 1 : 0);
  gauges.failoverPaused.set(status.view.pause === null ? 0 : 1);
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
  for (const pool of poolsInUse(providers)) {
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

/** More pools than that are no use in a graph. */
const MAX_POOLS = 300;

/** With a connection, or somebody who waits for one: names of databases that are none leave no series behind. */
function poolsInUse(providers: AdminProviders): PoolRow[] {
  return providers
    .pools()
    .filter((pool) => pool.sv_active + pool.sv_idle + pool.sv_login + pool.cl_waiting > 0)
    .slice(0, MAX_POOLS);
}
