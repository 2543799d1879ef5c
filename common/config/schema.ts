import { z } from 'zod';
import { NAME_PATTERN } from '../names.ts';
import { drillsConfig, drillWindow } from './drills.ts';
import { etcdConfig } from './etcd.ts';
import { replicationConfig } from './replication.ts';

/**
 * The whole configuration: one file may serve every process of a cluster, each reads its own part.
 * Units are in the names. `z.strictObject`: a misspelt field is a fault, not silence.
 */
const port = z.number().int().min(1).max(65535);
/** 0 picks a free port. */
const listenPort = z.number().int().min(0).max(65535);
const name = z.string().regex(NAME_PATTERN, 'lower-case letters, digits and -, at most 40, starting with a letter');
const hostPort = z.strictObject({ host: z.string().min(1), port });
const secret = z.string().min(1);
const tlsVersion = z.enum(['TLSv1.2', 'TLSv1.3']);

/** What may be set for a whole cluster, in etcd (`leasehold config set`); it is stronger than what a node's own file says. */
const clusterWide = {
  /** Synchronous acknowledgements wanted for each commit (k). */
  syncAcks: z.number().int().min(1).max(10),
  /** A leader without any synchronous follower: goes on alone (recorded first, S4), or holds writes. */
  withoutFollower: z.enum(['go-on', 'hold']),
  /** When drills may run, whoever asks for them (guard `window`); at any time when absent. */
  drillWindow,
  /** As `drills.maxLagBytes` of the proxies. */
  drillMaxLagBytes: z.number().int().min(0),
};
export const clusterSettings = z.strictObject(clusterWide).partial();
export type ClusterSettings = z.output<typeof clusterSettings>;

export const clusterConfig = z.strictObject({
  name: name.default('main'),
  ...etcdConfig,
  /** Lease TTL; 3000 only with an etcd tuned to heartbeat 50 / election 500 (ELECTION.md, "Timings"). */
  ttlMs: z.number().int().min(3000).max(60000).default(5000),
  /** Safety margin of S2 and S5. */
  marginMs: z.number().int().min(200).max(5000).default(700),
  syncAcks: clusterWide.syncAcks.default(1),
  withoutFollower: clusterWide.withoutFollower.default('go-on'),
  /** Shared by agents, proxies and the CLI: `Authorization: Bearer` on the agents' API. */
  apiToken: secret.optional(),
});

export const agentConfig = z.strictObject({
  node: name,
  dataDir: z.string().min(1),
  /** PostgreSQL. `advertise` is what peers and proxies connect to; by default the listen address. */
  listen: z.strictObject({ host: z.string().min(1).default('127.0.0.1'), port }),
  advertise: hostPort.optional(),
  api: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: listenPort.default(0),
      advertiseUrl: z.url().optional(),
    })
    .prefault({}),
  postgres: z
    .strictObject({
      /** Folder with `postgres`, `initdb`, `pg_basebackup`, `pg_rewind`; found by itself when absent. */
      binDir: z.string().optional(),
      /** Operating-system user for PostgreSQL when the agent runs as root. */
      osUser: z.string().optional(),
      /** Further settings for postgresql.conf. */
      parameters: z.record(z.string(), z.string()).default({}),
      /** Lines put before the generated ones of pg_hba.conf. */
      hba: z.array(z.string()).default([]),
    })
    .prefault({}),
  replication: replicationConfig,
  /** Roles and databases made once, when the cluster is initialised. */
  bootstrap: z
    .strictObject({
      superuserPassword: secret.optional(),
      roles: z.array(z.strictObject({ name: z.string(), password: secret })).default([]),
      databases: z.array(z.strictObject({ name: z.string(), owner: z.string() })).default([]),
    })
    .prefault({}),
  priority: z.number().int().min(0).max(100).default(50),
  noFailover: z.boolean().default(false),
});

/** `session`: a client has one leader connection to itself for as long as it is there. */
const poolMode = z.enum(['transaction', 'session']);

const consistency = z.enum(['eventual', 'session', 'database', 'strong']);

/** What may be said of one database or one user; what is absent is as for all. See `scoped.ts` for the precedence. */
const timeoutMs = z.number().int().min(0);

const scope = z.strictObject({
  consistency: consistency.optional(),
  maxStalenessMs: z.number().int().min(1).optional(),
  causalWaitMs: z.number().int().min(0).optional(),
  settleWaitMs: z.number().int().min(0).optional(),
  slowQueryMs: z.number().int().min(-1).optional(),
  poolMode: poolMode.optional(),
  shadow: z.boolean().optional(),
  /** Clients at once, and server connections over all nodes. Both hold for a user in a database: the smaller counts. */
  maxClients: z.number().int().min(1).optional(),
  maxConnections: z.number().int().min(1).optional(),
  /** As in `pool`, for each pool of the database or user. */
  poolSize: z.number().int().min(1).optional(),
  minSize: z.number().int().min(0).optional(),
  reserveSize: z.number().int().min(0).optional(),
  waitTimeoutMs: z.number().int().min(1).optional(),
  serverIdleTimeoutMs: z.number().int().min(1000).optional(),
  serverMaxLifetimeMs: z.number().int().min(1000).optional(),
  queryTimeoutMs: timeoutMs.optional(),
  transactionTimeoutMs: timeoutMs.optional(),
  idleTransactionTimeoutMs: timeoutMs.optional(),
  clientIdleTimeoutMs: timeoutMs.optional(),
});

export const proxyConfig = z.strictObject({
  id: name.default('proxy1'),
  listen: z
    .strictObject({
      /** Names and addresses with commas between, `*` for every address, as PostgreSQL's listen_addresses. */
      host: z.string().min(1).default('127.0.0.1'),
      port: listenPort.default(6432),
      /** Where to put the Unix socket `.s.PGSQL.<port>`; none when absent. */
      unixSocketDir: z.string().min(1).optional(),
      unixSocketMode: z
        .string()
        .regex(/^0?[0-7]{3}$/, 'three octal digits, such as "0770"')
        .default('0777'),
      /** Another process may listen on the same ports (the HTTP port too): it takes over while this one drains. Linux. */
      reusePort: z.boolean().default(false),
    })
    .prefault({}),
  /** What other machines reach this very proxy by (cancel requests are passed on there); by default the listen address. */
  advertise: hostPort.optional(),
  http: z.strictObject({ host: z.string().min(1).default('127.0.0.1'), port: listenPort.default(6480) }).prefault({}),
  /** At most half of the process ids that one proxy can give (proxy/auth/cancel-keys.ts). */
  /** Where this proxy is; see `routing.zones`. */
  zone: z.string().min(1).optional(),
  maxClients: z.number().int().min(1).max(250_000).default(2000),
  /** When the proxy is asked to stop: how long sessions may go on with an open transaction before they are ended. */
  drainMs: z.number().int().min(0).max(86_400_000).default(5000),
  pool: z
    .strictObject({
      /** Backend connections for each user, database and node. */
      size: z.number().int().min(1).default(20),
      /** Kept open in advance for each user and database that somebody has logged in for, on each node. */
      minSize: z.number().int().min(0).default(0),
      /** So many more, for clients that have waited for `reserveAfterMs`. */
      reserveSize: z.number().int().min(0).default(0),
      reserveAfterMs: z.number().int().min(0).default(5000),
      /** Server connections of this proxy, over all pools; and of them to one node: with all proxies together below its max_connections. */
      maxConnections: z.number().int().min(1).default(1000),
      maxConnectionsPerNode: z.number().int().min(1).default(90),
      /** Clients waiting for a connection, per pool; more are refused (53300). */
      maxWaiting: z.number().int().min(0).default(1000),
      /** How long a client waits for a connection before 53300. */
      waitTimeoutMs: z.number().int().min(1).default(30000),
      idleTimeoutMs: z.number().int().min(1000).default(600000),
      maxLifetimeMs: z.number().int().min(1000).default(3600000),
      connectTimeoutMs: z.number().int().min(100).default(5000),
      mode: poolMode.default('transaction'),
      /** Prepared statements kept on each server connection; beyond it the one used longest ago is closed. */
      maxPreparedStatements: z.number().int().min(10).max(100_000).default(500),
      /** A connection that was idle for so long is asked for a sign of life. */
      checkAfterMs: z.number().int().min(1000).default(30000),
    })
    .prefault({}),
  /** 0: none. */
  timeouts: z
    .strictObject({
      /** Of one statement on its server: it is cancelled (57014). */
      queryTimeoutMs: timeoutMs.default(0),
      /** Of a transaction, idle or not: the client is disconnected (25P04), as it is by the two below. */
      transactionTimeoutMs: timeoutMs.default(0),
      /** Of a client that does nothing in a transaction (25P03), and outside one (57P05). */
      idleTransactionTimeoutMs: timeoutMs.default(0),
      clientIdleTimeoutMs: timeoutMs.default(0),
      /** From the connection to the end of authentication. */
      clientLoginTimeoutMs: z.number().int().min(100).default(15000),
    })
    .prefault({}),
  hold: z
    .strictObject({
      /** How long a write waits for a leader before it is refused (57P03). */
      deadlineMs: z.number().int().min(100).default(30000),
      /** Writes held at once; more are refused (53300). */
      maxHeld: z.number().int().min(1).default(5000),
    })
    .prefault({}),
  routing: z
    .strictObject({
      consistency: consistency.default('session'),
      /** How long a read waits for a follower that is fresh enough before the leader serves it. */
      causalWaitMs: z.number().int().min(0).default(50),
      /**
       * How long work on the leader waits until the leader shows what its session has read on a follower, before it is refused (57P03). 0: it
       * does not wait, and may miss what a follower showed and the quorum has not confirmed yet.
       */
      settleWaitMs: z.number().int().min(0).default(10000),
      /** A follower that is further than this behind the leader’s last word serves nothing. Without a leader nothing newer exists. */
      maxStalenessMs: z.number().int().min(1).default(30000),
      systemCatalogs: z.enum(['leader', 'follower']).default('leader'),
      /** By node: its share of the reads among followers (1 if not set); 0: only if there is no other. */
      weights: z.record(z.string(), z.number().min(0).max(1000)).default({}),
      /** By node: where it is. Followers of the proxy's own zone come first, unless they are far slower. */
      zones: z.record(z.string(), z.string().min(1)).default({}),
      /** Everything goes to the leader; what would have gone to a follower is counted (SHOW SHADOW). */
      shadow: z.boolean().default(false),
    })
    .prefault({}),
  /** Bytes of one client's pending input or of one held unit; more is streamed or refused, never kept. */
  maxBufferBytes: z
    .number()
    .int()
    .min(65536)
    .default(16 * 1024 * 1024),
  /** Who may log in from where, and how; by default everybody by SCRAM. */
  auth: z
    .strictObject({
      /** In pg_hba.conf’s format; or its lines, here (in a variable as a JSON list: lines have commas of their own). */
      hbaFile: z.string().optional(),
      hba: z.array(z.string()).optional(),
      /** In pg_ident.conf's format; or its lines, here. */
      identFile: z.string().optional(),
      ident: z.array(z.string()).optional(),
      /** By role name: with what the proxy logs in to servers for clients that gave no proof (trust, cert). */
      passwords: z.record(z.string(), secret).default({}),
    })
    .prefault({}),
  /** TLS to the clients. */
  tls: z
    .strictObject({
      certFile: z.string(),
      keyFile: z.string(),
      required: z.boolean().default(false),
      /** Authorities of client certificates; clients are asked for one when it is given. */
      clientCaFile: z.string().optional(),
      crlFile: z.string().optional(),
      minVersion: tlsVersion.default('TLSv1.2'),
    })
    .optional(),
  /** TLS to the servers. */
  serverTls: z
    .strictObject({
      /** As libpq's sslmode. */
      mode: z.enum(['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']).default('disable'),
      /** Authorities of the servers' certificates, or `system` for those that this machine trusts. */
      caFile: z.string().optional(),
      crlFile: z.string().optional(),
      /** What the proxy shows servers that ask for a certificate. */
      certFile: z.string().optional(),
      keyFile: z.string().optional(),
      minVersion: tlsVersion.default('TLSv1.2'),
      /** As libpq's channel_binding. */
      channelBinding: z.enum(['disable', 'prefer', 'require']).default('prefer'),
    })
    .prefault({}),
  log: z
    .strictObject({
      /** Statements that took so long, waiting included, are logged without their literals; 0: all, -1: none. */
      slowQueryMs: z.number().int().min(-1).default(-1),
      /** Records of slow statements in a second; of more only their number is told. */
      slowQueriesPerSecond: z.number().int().min(1).default(10),
      /** Each client that is let in, and each that leaves. */
      connections: z.boolean().default(false),
      disconnections: z.boolean().default(false),
    })
    .prefault({}),
  /** Who may use the console and is not only an application: role names. */
  consoleUsers: z.array(z.string()).default(['postgres']),
  /** Who may look (SHOW) and change nothing there. */
  statsUsers: z.array(z.string()).default([]),
  /** By name. */
  databases: z.record(z.string(), scope).default({}),
  /** By role name; stronger than `databases`. */
  users: z.record(z.string(), scope).default({}),
});

/** The role with which proxies read verifiers, positions and the catalog. Made by the agent at initdb. */
export const serviceConfig = z.strictObject({ user: z.string().default('leasehold_proxy'), password: secret });

export const leaseholdConfig = z.strictObject({
  cluster: clusterConfig.prefault({}),
  service: serviceConfig.optional(),
  agent: agentConfig.optional(),
  proxy: proxyConfig.prefault({}),
  drills: drillsConfig.prefault({}),
});

export type ClusterConfig = z.output<typeof clusterConfig>;
export type AgentConfig = z.output<typeof agentConfig>;
export type ProxyConfig = z.output<typeof proxyConfig>;
export type ScopeConfig = z.output<typeof scope>;
export type ServiceConfig = z.output<typeof serviceConfig>;
export type LeaseholdConfig = z.output<typeof leaseholdConfig>;
