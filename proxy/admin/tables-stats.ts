import type { Totals } from '../metrics/database-totals.ts';
import { shownStatement } from '../metrics/shown-statement.ts';
import { ints, texts } from './columns.ts';
import type { ShowCommand } from './tables.ts';
import type { AdminProviders } from './types.ts';

/** PgBouncer's: microseconds in total, and on average over the last period (counts and bytes for each second). */
export const STATS: ShowCommand = {
  help: 'transactions, statements, bytes and times (µs) of each database: in total, and on average over a minute',
  columns: [
    ...texts('database'),
    ...ints('total_xact_count', 'total_query_count', 'total_received', 'total_sent'),
    ...ints('total_xact_time', 'total_query_time', 'total_wait_time'),
    ...ints('avg_xact_count', 'avg_query_count', 'avg_recv', 'avg_sent'),
    ...ints('avg_xact_time', 'avg_query_time', 'avg_wait_time'),
    ...ints('total_errors'),
  ],
  rows: (providers) =>
    totalsOf(providers).map(({ database, totals, average }) => ({
      database,
      total_xact_count: totals.xact_count,
      total_query_count: totals.query_count,
      total_received: totals.bytes_received,
      total_sent: totals.bytes_sent,
      total_xact_time: totals.xact_time,
      total_query_time: totals.query_time,
      total_wait_time: totals.wait_time,
      avg_xact_count: average.xact_count,
      avg_query_count: average.query_count,
      avg_recv: average.bytes_received,
      avg_sent: average.bytes_sent,
      avg_xact_time: average.xact_time,
      avg_query_time: average.query_time,
      avg_wait_time: average.wait_time,
      total_errors: totals.errors,
    })),
};

const PLAIN = [
  ...texts('database'),
  ...ints(
    'xact_count',
    'query_count',
    'bytes_received',
    'bytes_sent',
    'xact_time',
    'query_time',
    'wait_time',
    'errors',
  ),
];

export const STATS_TOTALS: ShowCommand = {
  help: 'the totals of SHOW STATS',
  columns: PLAIN,
  rows: (providers) => totalsOf(providers).map(({ database, totals }) => ({ database, ...totals })),
};

export const STATS_AVERAGES: ShowCommand = {
  help: 'the averages of SHOW STATS',
  columns: PLAIN,
  rows: (providers) => totalsOf(providers).map(({ database, average }) => ({ database, ...average })),
};

export const TOTALS: ShowCommand = {
  help: 'SHOW STATS over all databases',
  columns: [...texts('name'), ...ints('value')],
  rows: (providers) => {
    const sums = new Map<string, number>();
    for (const row of STATS.rows(providers)) {
      for (const { name, kind } of STATS.columns) {
        if (kind === 'int') sums.set(name, (sums.get(name) ?? 0) + Number(row[name]));
      }
    }
    // An average of averages is none: times are weighed by what they are times of.
    for (const [time, weight] of WEIGHTS) sums.set(time, weighted(providers, time, weight));
    return [...sums].map(([name, value]) => ({ name, value }));
  },
};

const WEIGHTS = [
  ['avg_xact_time', 'avg_xact_count'],
  ['avg_query_time', 'avg_query_count'],
  ['avg_wait_time', 'avg_query_count'],
] as const;

function weighted(providers: AdminProviders, time: string, weight: string): number {
  let sum = 0;
  let count = 0;
  for (const row of STATS.rows(providers)) {
    sum += Number(row[time]) * Number(row[weight]);
    count += Number(row[weight]);
  }
  return count === 0 ? 0 : sum / count;
}

interface Plain {
  readonly xact_count: number;
  readonly query_count: number;
  readonly bytes_received: number;
  readonly bytes_sent: number;
  readonly xact_time: number;
  readonly query_time: number;
  readonly wait_time: number;
  readonly errors: number;
}

function totalsOf(providers: AdminProviders): { database: string; totals: Plain; average: Plain }[] {
  const { recorder, averages, nowMs } = providers.activity();
  return [...recorder.totals()].map(([database, totals]) => {
    const { delta, periodMs } = averages.of(database, totals, nowMs);
    return { database, totals: plain(totals), average: averageOf(delta, periodMs / 1000) };
  });
}

function plain(totals: Totals): Plain {
  return {
    xact_count: totals.transactions,
    query_count: totals.queries,
    bytes_received: totals.receivedBytes,
    bytes_sent: totals.sentBytes,
    xact_time: totals.transactionMs * 1000,
    query_time: totals.queryMs * 1000,
    wait_time: totals.waitMs * 1000,
    errors: totals.errors,
  };
}

function averageOf(delta: Totals, seconds: number): Plain {
  const each = (ms: number, count: number): number => (count === 0 ? 0 : (ms * 1000) / count);
  return {
    xact_count: delta.transactions / seconds,
    query_count: delta.queries / seconds,
    bytes_received: delta.receivedBytes / seconds,
    bytes_sent: delta.sentBytes / seconds,
    xact_time: each(delta.transactionMs, delta.transactions),
    query_time: each(delta.queryMs, delta.queries),
    wait_time: each(delta.waitMs, delta.queries),
    errors: delta.errors / seconds,
  };
}

const TOP = 100;

export const STATEMENTS: ShowCommand = {
  help: `the ${TOP} statements that took most time, without their literals (times in µs)`,
  columns: [
    ...texts('database', 'class'),
    ...ints('calls', 'errors', 'total_time', 'mean_time', 'p99_time', 'max_time', 'as_leader', 'as_follower'),
    ...texts('statement'),
  ],
  rows: (providers) =>
    providers
      .activity()
      .recorder.statements.top(TOP)
      .map((entry) => ({
        database: entry.database,
        class: entry.label,
        calls: entry.calls,
        errors: entry.errors,
        total_time: entry.totalMs * 1000,
        mean_time: entry.calls === 0 ? 0 : (entry.totalMs * 1000) / entry.calls,
        p99_time: Math.min(entry.times.quantileMs(0.99), entry.maxMs) * 1000,
        max_time: entry.maxMs * 1000,
        as_leader: entry.onLeader,
        as_follower: entry.onFollower,
        statement: shownStatement(entry.text),
      })),
};

export const ROUTES: ShowCommand = {
  help: 'where statements of each class were sent, and their mean time (µs) there',
  columns: [...texts('class', 'kind', 'role', 'node'), ...ints('statements', 'mean_time')],
  rows: (providers) =>
    [...providers.activity().recorder.cells()]
      .sort((a, b) => b.count - a.count)
      .map((cell) => ({
        class: cell.label,
        kind: cell.queryClass,
        role: cell.role,
        node: cell.node,
        statements: cell.count,
        mean_time: cell.count === 0 ? 0 : (cell.sumMs * 1000) / cell.count,
      })),
};
