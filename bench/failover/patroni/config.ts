/** One way to run Patroni: its timings, and how HAProxy asks it who leads. */
export interface PatroniMode {
  readonly name: string;
  readonly timings: {
    readonly ttl: number;
    readonly loop_wait: number;
    readonly retry_timeout: number;
    /** Seconds that a crashed leader is given to come back before somebody else takes over. */
    readonly primary_start_timeout: number;
  };
  /** HAProxy's `default-server`. */
  readonly checks: string;
}

/** The defaults of Patroni, and of the HAProxy configuration in its documentation. */
export const DEFAULT: PatroniMode = {
  name: 'patroni, default',
  timings: { ttl: 30, loop_wait: 10, retry_timeout: 10, primary_start_timeout: 300 },
  checks: 'inter 3s fall 3 rise 2 on-marked-down shutdown-sessions',
};

/**
 * The least values that its documentation permits (ttl 20, loop_wait 1, retry_timeout 3), a leader that crashed is not waited
 * for, and HAProxy asks four times a second and believes the first answer.
 * https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
 */
export const AGGRESSIVE: PatroniMode = {
  name: 'patroni, most aggressive',
  timings: { ttl: 20, loop_wait: 1, retry_timeout: 3, primary_start_timeout: 0 },
  checks: 'inter 250ms fall 1 rise 1 on-marked-down shutdown-sessions',
};

export interface PatroniNode {
  readonly name: string;
  readonly folder: string;
  readonly postgresPort: number;
  readonly restPort: number;
}

export interface PatroniPlan {
  readonly mode: PatroniMode;
  readonly node: PatroniNode;
  /** `127.0.0.1:2379` */
  readonly etcd: string;
  readonly binDir: string;
}

/** What the configuration of one member says, as data; written as YAML. */
export function memberConfig({ mode, node, etcd, binDir }: PatroniPlan): object {
  const postgres = `127.0.0.1:${node.postgresPort}`;
  return {
    scope: 'bench',
    name: node.name,
    restapi: { listen: `127.0.0.1:${node.restPort}`, connect_address: `127.0.0.1:${node.restPort}` },
    etcd3: { host: etcd },
    bootstrap: {
      dcs: {
        ...mode.timings,
        maximum_lag_on_failover: 1_048_576,
        // An acknowledged commit is on two nodes, as with Leasehold.
        synchronous_mode: true,
        postgresql: {
          use_pg_rewind: true,
          use_slots: true,
          parameters: {
            shared_buffers: '64MB',
            max_wal_size: '512MB',
            max_connections: 100,
            hot_standby: 'on',
            wal_log_hints: 'on',
          },
        },
      },
      initdb: [{ encoding: 'UTF8' }, 'data-checksums'],
      pg_hba: ['host replication replicator 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 scram-sha-256'],
    },
    postgresql: {
      listen: postgres,
      connect_address: postgres,
      data_dir: `${node.folder}/data`,
      bin_dir: binDir,
      pgpass: `${node.folder}/pgpass`,
      authentication: {
        superuser: { username: 'postgres', password: 'postgres' },
        replication: { username: 'replicator', password: 'replicator' },
        rewind: { username: 'rewinder', password: 'rewinder' },
      },
      parameters: { unix_socket_directories: node.folder },
    },
  };
}

/** As Patroni's documentation has it: the member whose REST API says that it is the primary gets the connections. */
export function haproxyConfig(mode: PatroniMode, port: number, nodes: readonly PatroniNode[]): string {
  const servers = nodes.map(
    ({ name, postgresPort, restPort }) =>
      `    server ${name} 127.0.0.1:${postgresPort} maxconn 100 check port ${restPort}`,
  );
  return `global
    maxconn 200
defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen primary
    bind 127.0.0.1:${port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server ${mode.checks}
${servers.join('\n')}
`;
}

/** One member as `GET /cluster` tells it. */
export interface Member {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
}

/** A leader, everybody else streaming on its timeline, and one of them synchronous. */
export function isInStep(members: readonly Member[], count: number): boolean {
  const leader = members.find(({ role }) => role === 'leader');
  if (leader === undefined || members.length !== count) return false;
  if (members.some(({ state, timeline }) => !/^(running|streaming)$/.test(state) || timeline !== leader.timeline))
    return false;
  return members.some(({ role }) => role === 'sync_standby' || role === 'quorum_standby');
}
