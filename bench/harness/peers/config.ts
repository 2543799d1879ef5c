/** What a peer is configured from: the same facts for all of them. */
export interface PeerPlan {
  readonly port: number;
  readonly folder: string;
  /** The leader, then the followers. */
  readonly servers: readonly { readonly host: string; readonly port: number }[];
  readonly poolSize: number;
  readonly maxClients: number;
  readonly certFile: string;
  readonly keyFile: string;
  /** The SCRAM verifier of the user `app`, as PostgreSQL keeps it: nobody has the password, as Leasehold has not. */
  readonly verifier: string;
}

/** It wants two descriptors for each, and more than a common limit does not let it start. */
const MOST_HAPROXY = 400;

export function pgbouncerConfig(plan: PeerPlan): string {
  const { host, port } = leaderOf(plan);
  return `[databases]
app = host=${host} port=${port} dbname=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${plan.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${plan.folder}/users.txt
pool_mode = transaction
default_pool_size = ${plan.poolSize}
max_client_conn = ${plan.maxClients}
max_prepared_statements = 500
client_tls_sslmode = allow
client_tls_cert_file = ${plan.certFile}
client_tls_key_file = ${plan.keyFile}
server_tls_sslmode = disable
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
`;
}

/** PgBouncer's own list of users. */
export function pgbouncerUsers(plan: PeerPlan): string {
  return `"app" "${plan.verifier}"\n`;
}

export function odysseyConfig(plan: PeerPlan): string {
  const { host, port } = leaderOf(plan);
  const listen = (at: number, tls: string): string => `listen {
  host "127.0.0.1"
  port ${at}
  tls "${tls}"
  tls_cert_file "${plan.certFile}"
  tls_key_file "${plan.keyFile}"
}`;
  return `daemonize no
workers 1
resolvers 1
log_to_stdout yes
log_format "%p %t %l (%c) %m\\n"
log_session no
log_query no
log_stats no
log_syslog no
client_max ${plan.maxClients}
${listen(plan.port, 'allow')}
storage "leader" {
  type "remote"
  host "${host}"
  port ${port}
  tls "disable"
}
database "app" {
  user "app" {
    authentication "scram-sha-256"
    password "${plan.verifier}"
    storage "leader"
    storage_user "app"
    storage_password "app"
    pool "transaction"
    pool_size ${plan.poolSize}
    pool_discard no
    pool_reserve_prepared_statement yes
  }
}
`;
}

/** It forwards bytes: no log-in, no pool, no TLS of PostgreSQL's kind. */
export function haproxyConfig(plan: PeerPlan): string {
  const { host, port } = leaderOf(plan);
  return `global
  nbthread 1
  maxconn ${Math.min(plan.maxClients, MOST_HAPROXY)}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:${plan.port}
  server leader ${host}:${port}
`;
}

/** A process for each client is how it works: as many as a cell has clients. */
export function pgpoolConfig(plan: PeerPlan): string {
  const backends = plan.servers.map(
    ({ host, port }, index) => `backend_hostname${index} = '${host}'
backend_port${index} = ${port}
backend_weight${index} = ${index === 0 ? 0 : 1}
backend_flag${index} = '${index === 0 ? 'ALWAYS_PRIMARY|' : ''}DISALLOW_TO_FAILOVER'
`,
  );
  return `listen_addresses = '127.0.0.1'
port = ${plan.port}
pcp_listen_addresses = ''
unix_socket_directories = '${plan.folder}'
pcp_socket_dir = '${plan.folder}'
pid_file_name = '${plan.folder}/pgpool.pid'
work_dir = '${plan.folder}'
logdir = '${plan.folder}'
backend_clustering_mode = 'streaming_replication'
${backends.join('')}load_balance_mode = on
disable_load_balance_on_write = 'transaction'
statement_level_load_balance = on
num_init_children = ${plan.maxClients}
max_pool = 1
enable_pool_hba = off
allow_clear_text_frontend_auth = off
pool_passwd = '${plan.folder}/pool_passwd'
sr_check_period = 0
health_check_period = 0
memory_cache_enabled = off
check_unlogged_table = off
check_temp_table = none
log_min_messages = error
`;
}

function leaderOf(plan: PeerPlan): { readonly host: string; readonly port: number } {
  const leader = plan.servers[0];
  if (leader === undefined) throw new RangeError('a peer needs a server');
  return leader;
}
