import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client';
import type { LiveConfig } from '../../common/config/live.ts';
import type { Logger } from '../../common/logger.ts';
import type { ActivityLog } from '../metrics/activity.ts';
import { Buckets } from '../metrics/buckets.ts';
import { AVERAGE_PERIOD_MS, Averages } from '../metrics/database-totals.ts';
import { exposeBuckets } from '../metrics/exposition.ts';
import { Recorder } from '../metrics/recorder.ts';
import { SlowLog } from '../metrics/slow-log.ts';
import { createGauges, type Gauges, readGauges } from './gauges.ts';
import type { AdminProviders, NodeRole, ProxyMetrics } from './types.ts';

export interface MetricsRegistry extends ProxyMetrics {
  /** Prometheus text. Gauges are read from the providers at this moment. */
  render(providers: AdminProviders): Promise<string>;
  readonly contentType: string;
  readonly recorder: Recorder;
  readonly averages: Averages;
  /** A text that was not in the cache took so long in the parser. */
  parsed(ms: number): void;
  /** A client was let in, or sent away at the door. */
  connection(outcome: 'accepted' | 'refused'): void;
  /** A connection to a server for a pool was made, or was not to be had. */
  serverConnection(outcome: 'opened' | 'failed'): void;
  /** Units of leader work that had to wait, by how that ended; only grow. */
  readonly holds: { served: number; refused: number; gone: number };
  /** Errors that clients were told so far, by SQLSTATE: the servers' and the proxy's own. */
  errors(): Record<string, number>;
  /** Statements that a node served so far, by role; for SHOW NODES. */
  served(node: string): Readonly<Record<NodeRole, number>>;
  close(): void;
}

const SECONDS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];
const PARSE_BOUNDS_MS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 100];

/** One for each process. Its registry is its own, so that several proxies can live in one test process. */
export function createProxyMetrics(options: { readonly live: LiveConfig; readonly logger: Logger }): MetricsRegistry {
  const { live, logger } = options;
  const nowMs = (): number => performance.now();
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const recorder = new Recorder();
  const averages = new Averages(nowMs());
  const timer = setInterval(() => averages.turn(recorder.totals(), nowMs()), AVERAGE_PERIOD_MS);
  timer.unref();
  const parse = new Buckets(PARSE_BOUNDS_MS);
  exposeHistograms(registry, recorder, parse);
  const events = createEvents(registry);
  const gauges = createGauges(registry);
  const slow = new SlowLog({ logger, perSecond: () => live.current.log.slowQueriesPerSecond, nowMs });
  const holds = { served: 0, refused: 0, gone: 0 };
  const ownErrors = new Map<string, number>();
  const log: ActivityLog = { recorder, slow, live, nowMs };
  return {
    log,
    recorder,
    averages,
    contentType: registry.contentType,
    served: (node) => servedBy(recorder, node),
    parsed: (ms) => parse.observe(ms),
    connection: (outcome) => events.connections.inc({ outcome }),
    serverConnection: (outcome) => events.serverConnections.inc({ outcome }),
    cancelled: () => events.cancels.inc(),
    holds,
    holdEnded(durationMs, outcome) {
      holds[outcome] += 1;
      events.hold.observe({ outcome }, durationMs / 1000);
    },
    retried: (reason) => events.retries.inc({ reason }),
    settleWaitEnded: (durationMs, outcome) => events.settleWait.observe({ outcome }, durationMs / 1000),
    causalWaitEnded: (durationMs, outcome) => events.causalWait.observe({ outcome }, durationMs / 1000),
    errors() {
      const counts = Object.fromEntries(ownErrors);
      for (const [code, count] of recorder.serverErrors) counts[code] = (counts[code] ?? 0) + count;
      return counts;
    },
    clientError(sqlState) {
      // The proxy's own are a few dozen.
      ownErrors.set(sqlState, (ownErrors.get(sqlState) ?? 0) + 1);
      events.errors.inc({ sqlstate: sqlState });
    },
    serverError: (sqlState) => recorder.serverError(sqlState),
    async render(providers) {
      readGauges(gauges, providers);
      readTotals(gauges, recorder);
      return registry.metrics();
    },
    close: () => clearInterval(timer),
  };
}

function servedBy(recorder: Recorder, node: string): Record<NodeRole, number> {
  const served = { leader: 0, follower: 0 };
  for (const cell of recorder.cells()) if (cell.node === node) served[cell.role] += cell.count;
  return served;
}

function readTotals(gauges: Gauges, recorder: Recorder): void {
  for (const { node, role, label, count } of recorder.cells()) {
    gauges.statements.inc({ node, role, class: label }, count);
  }
  for (const [sqlstate, count] of recorder.serverErrors) gauges.serverErrors.inc({ sqlstate }, count);
  for (const [database, totals] of recorder.totals()) {
    gauges.transactions.inc({ database }, totals.transactions);
    gauges.queries.inc({ database }, totals.queries);
    gauges.received.inc({ database }, totals.receivedBytes);
    gauges.sent.inc({ database }, totals.sentBytes);
  }
  gauges.knownStatements.set(recorder.statements.size);
}

function exposeHistograms(registry: Registry, recorder: Recorder, parse: Buckets): void {
  exposeBuckets(
    registry,
    'leasehold_query_duration_seconds',
    'From sending a statement to a server until it was ready, by class of statement, node and role',
    function* () {
      for (const { node, role, queryClass, buckets } of recorder.durations()) {
        yield { labels: { class: queryClass, node, role }, buckets };
      }
    },
  );
  exposeBuckets(
    registry,
    'leasehold_connection_wait_seconds',
    'From a statement’s arrival until it was sent, without holds and waits for freshness: mostly for a connection',
    () => [{ labels: {}, buckets: recorder.connectionWait }],
  );
  exposeBuckets(
    registry,
    'leasehold_transaction_duration_seconds',
    'From the first statement sent until the transaction ended, as the server said',
    () => [{ labels: {}, buckets: recorder.transactions }],
  );
  exposeBuckets(
    registry,
    'leasehold_classification_miss_seconds',
    'Time in the parser of texts that were not in the cache',
    () => [{ labels: {}, buckets: parse }],
  );
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
    settleWait: new Histogram({
      name: 'leasehold_settle_wait_seconds',
      help: 'How long work on the leader waited until it showed what its session had read on a follower',
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
    cancels: new Counter({
      name: 'leasehold_cancels_total',
      help: 'Cancel requests of clients that were sent on to a server',
      registers,
    }),
    connections: new Counter({
      name: 'leasehold_client_connections_total',
      help: 'Client connections that were let in or refused',
      labelNames: ['outcome'],
      registers,
    }),
    serverConnections: new Counter({
      name: 'leasehold_server_connections_total',
      help: 'Connections to servers for pools that were made or failed',
      labelNames: ['outcome'],
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
