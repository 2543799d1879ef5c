import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { GuardedSocket } from '../../common/guarded-socket.ts';
import type { ServiceConfig } from '../../common/config/schema.ts';
import type { ServerFacts } from './types.ts';

export interface ServerFactsOptions {
  readonly host: string;
  readonly port: number;
  readonly service: ServiceConfig;
  /** For the package pg. */
  readonly tls: false | ConnectionOptions;
  readonly maxTransactionMs: number;
}

const LIMIT_MS = 3000;

/**
 * Of each kind at most five are named. Vacuum's lock is short and it gives way; the canary's own connections and the agent's count for nothing.
 * https://www.postgresql.org/docs/current/monitoring-stats.html, …/view-pg-locks.html, …/progress-reporting.html
 */
const SQL = `
WITH activity AS (
  SELECT pid, usename, xact_start, query FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name NOT IN ('leasehold drill', 'leasehold agent')
), ddl AS (
  SELECT DISTINCT a.pid, 'a relation is locked exclusively, by ' || a.usename AS what
  FROM pg_locks l JOIN activity a USING (pid)
  WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  UNION SELECT pid, lower(command) FROM pg_stat_progress_create_index
  UNION SELECT pid, lower(command) FROM pg_stat_progress_cluster
)
SELECT current_setting('wal_log_hints') = 'on' OR current_setting('data_checksums') = 'on' AS hints,
       current_setting('full_page_writes') = 'on' AS pages,
       (SELECT count(*)::int FROM pg_prepared_xacts) AS prepared,
       (SELECT count(*)::int FROM pg_stat_progress_basebackup) AS backups,
       (SELECT coalesce(json_agg(t), '[]') FROM (
          SELECT pid, coalesce(usename, '?') AS user, extract(epoch FROM now() - xact_start)::float8 AS seconds
          FROM activity WHERE xact_start < now() - $1::float8 * interval '1 ms' ORDER BY xact_start LIMIT 5) t) AS transactions,
       (SELECT coalesce(json_agg(d), '[]') FROM (SELECT pid, what FROM ddl LIMIT 5) d) AS ddl`;

interface Row {
  readonly hints: boolean;
  readonly pages: boolean;
  readonly prepared: number;
  readonly backups: number;
  readonly transactions: ServerFacts['transactions'];
  readonly ddl: ServerFacts['ddl'];
}

/** Asks a leader what a drill would cut short. Rejects with what the connection or the server said. */
export async function askServer(options: ServerFactsOptions): Promise<ServerFacts> {
  const { host, port, service, tls, maxTransactionMs } = options;
  const client = new pg.Client({
    host,
    port,
    ...service,
    database: 'postgres',
    application_name: 'leasehold drill',
    connectionTimeoutMillis: LIMIT_MS,
    query_timeout: LIMIT_MS,
    ssl: tls,
    stream: () => new GuardedSocket(),
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<Row>(SQL, [maxTransactionMs]);
    const row = rows[0] as Row;
    return {
      rewindHints: row.hints,
      fullPageWrites: row.pages,
      transactions: row.transactions,
      ddl: row.ddl,
      prepared: row.prepared,
      backups: row.backups,
    };
  } finally {
    await client.end().catch(() => {});
  }
}
