/** Parts of `proxy` that are read when the process starts: sockets, files, identity. */
export const AT_START = ['id', 'listen', 'advertise', 'http', 'serverTls'] as const;

/** Of a path such as `proxy.listen.port`: whether only a restart changes it. */
export function isReadAtStart(path: string): boolean {
  return (
    !path.startsWith('proxy.') || AT_START.some((name) => path === `proxy.${name}` || path.startsWith(`proxy.${name}.`))
  );
}

interface Alias {
  readonly path: string;
  /** Our value's text as PgBouncer's, and the other way round. */
  toText(value: string): string;
  fromText(text: string): string;
}

const same = (path: string): Alias => ({ path, toText: (value) => value, fromText: (text) => text });
/** PgBouncer counts in seconds. */
const seconds = (path: string): Alias => ({
  path,
  toText: (value) => String(Number(value) / 1000),
  fromText: (text) => (/^\d+(\.\d+)?$/.test(text) ? String(Math.round(Number(text) * 1000)) : text),
});

/** PgBouncer's settings that mean the same here. https://www.pgbouncer.org/config.html */
export const ALIASES: ReadonlyMap<string, Alias> = new Map([
  ['listen_addr', same('proxy.listen.host')],
  ['listen_port', same('proxy.listen.port')],
  ['max_client_conn', same('proxy.maxClients')],
  ['pool_mode', same('proxy.pool.mode')],
  ['default_pool_size', same('proxy.pool.size')],
  ['min_pool_size', same('proxy.pool.minSize')],
  ['reserve_pool_size', same('proxy.pool.reserveSize')],
  ['reserve_pool_timeout', seconds('proxy.pool.reserveAfterMs')],
  ['query_wait_timeout', seconds('proxy.pool.waitTimeoutMs')],
  ['server_idle_timeout', seconds('proxy.pool.idleTimeoutMs')],
  ['server_lifetime', seconds('proxy.pool.maxLifetimeMs')],
  ['server_connect_timeout', seconds('proxy.pool.connectTimeoutMs')],
  ['server_check_delay', seconds('proxy.pool.checkAfterMs')],
  ['admin_users', same('proxy.consoleUsers')],
  ['stats_users', same('proxy.statsUsers')],
  ['log_connections', same('proxy.log.connections')],
  ['log_disconnections', same('proxy.log.disconnections')],
]);
