import type { ActivityLog } from '../metrics/activity.ts';
import type { Averages } from '../metrics/database-totals.ts';
import type { Recorder } from '../metrics/recorder.ts';
import type { Drills } from '../drill/runner.ts';
import type { ClusterView, LeaderTarget } from '../cluster/types.ts';
import type { ShadowRow } from '../session/shadow.ts';
import type { Classifier, PinReason } from '../sql/types.ts';
import type { FreshnessSnapshot } from '../../replication-monitor/types.ts';

/**
 * What the console, the HTTP API and the metrics ask of the running proxy. Everything is read at the moment of the
 * question; nothing is kept. The fields of a row are its columns, with PgBouncer's names where the meaning is the
 * same (https://www.pgbouncer.org/usage.html).
 */
export interface AdminProviders {
  pools(): readonly PoolRow[];
  clients(): readonly ClientRow[];
  servers(): readonly ServerRow[];
  balance(): readonly BalanceRow[];
  /** What shadowed sessions would have done (`routing.shadow`). */
  shadow(): readonly ShadowRow[];
  databases(): readonly DatabaseRow[];
  users(): readonly UserRow[];
  status(): ProxyStatus;
  readonly drills: Pick<Drills, 'running' | 'list'>;
  /** Statements that a node served so far. */
  served(node: string): Readonly<Record<NodeRole, number>>;
  activity(): { readonly recorder: Recorder; readonly averages: Averages; readonly nowMs: number };
  /** Trees of settings, as they are in force and as they are when nothing is given. */
  config(): { readonly current: object; readonly defaults: object };
  memory(): NodeJS.MemoryUsage;
}

/** What a reload did. Paths only: values may be secrets. */
export interface ReloadReport {
  /** In force now. */
  readonly changed: readonly string[];
  /** Given anew, and not in force before the process is started again. */
  readonly needsRestart: readonly string[];
}

/** What an operator may ask of this one process, by console, HTTP or signal. */
export interface ProxyControl {
  /** Throws ConfigError with every fault; then the configuration in force stays. */
  reload(): ReloadReport;
  /** One setting, until the next reload. Throws ClientError 42704, 22023, 55P02. */
  set(path: string, text: string): void;
  /** Begins the orderly end; a second call may only make it quicker. */
  stop(how: StopMode): void;
  /** Resolves when no server connection is left; rejects with the signal's reason, and then stays paused. Null: all databases. */
  pause(database: string | null, signal: AbortSignal): Promise<void>;
  isPaused(database: string | null): boolean;
  resume(database: string | null): void;
  reconnect(database: string | null): void;
  /** Until no server connection is left that is to be replaced. */
  waitClose(database: string | null, signal: AbortSignal): Promise<void>;
  /** How many clients it ended. */
  kill(database: string): number;
  /** False: there is no such client. */
  killClient(id: number): boolean;
  setEnabled(database: string, enabled: boolean): void;
  /** Ends clients' sessions between transactions and takes no new ones for so long; 0 ends that. Throws ActionRefused. */
  stepAside(seconds: number): void;
}

/**
 * `now`: transactions are cut. `transactions`: they may end within `proxy.drainMs`. `clients`: until the last client has left
 * by itself.
 */
export type StopMode = 'now' | 'transactions' | 'clients';

export interface PoolRow {
  readonly database: string;
  readonly user: string;
  readonly node: string;
  /** What the pool's connections are for. */
  readonly role: NodeRole;
  /** Clients that use a connection of this pool now, pinned ones included. */
  readonly cl_active: number;
  readonly cl_waiting: number;
  readonly sv_active: number;
  /** A cancel request is on its way to them. */
  readonly sv_being_canceled: number;
  readonly sv_idle: number;
  readonly sv_login: number;
  /** Of `sv_active`, those that a session's state keeps. */
  readonly sv_pinned: number;
  /** How long the first client in the queue has waited. */
  readonly maxwait_ms: number;
  readonly pool_size: number;
  readonly min_pool_size: number;
  readonly reserve_pool: number;
  /** Connections that the server has yet to close. */
  readonly sv_closing: number;
  readonly pool_mode: string;
  readonly paused: boolean;
}

/** How reads are balanced over the nodes, as this proxy sees them. */
export interface BalanceRow {
  readonly node: string;
  readonly weight: number;
  /** In the zone of this proxy, or without one. */
  readonly own_zone: boolean;
  readonly sv_active: number;
  readonly cl_waiting: number;
  /** Time to the first byte of an answer, as load balancing takes it; null: nothing was asked yet. */
  readonly latency_ms: number | null;
  /** It failed, and gets no reads for so long while others may have them; 0: it does. */
  readonly set_aside_ms: number;
}

interface SocketRow {
  readonly user: string;
  readonly database: string;
  readonly addr: string;
  readonly port: number;
  readonly local_addr: string;
  readonly local_port: number;
  readonly application_name: string;
  /** Wall-clock times. */
  readonly connect_time: Date;
  /** Null before the first request. */
  readonly request_time: Date | null;
  readonly prepared_statements: number;
  /** The protocol's version; empty without TLS. */
  readonly tls: string;
  /** It ends as soon as it may. */
  readonly closing: boolean;
}

export interface ClientRow extends SocketRow {
  readonly id: number;
  /** `idle`, `active`, `waiting` (for a connection), `held` (for a leader), `in_transaction`. */
  readonly state: 'idle' | 'active' | 'waiting' | 'held' | 'in_transaction';
  /** How long it has waited for what it waits for now; 0 if it does not. */
  readonly wait_ms: number;
  /** The node whose connection it has now, and that connection. */
  readonly node: string | null;
  readonly server: string | null;
  readonly pins: readonly (PinReason | 'session-pooling')[];
}

export interface ServerRow extends SocketRow {
  /** `node:pid`. */
  readonly key: string;
  readonly state: 'idle' | 'active';
  readonly client: number | null;
  readonly remote_pid: number;
  readonly node: string;
  readonly role: NodeRole;
  readonly age_ms: number;
  readonly idle_ms: number;
}

export interface DatabaseRow {
  readonly name: string;
  readonly pool_size: number;
  readonly min_pool_size: number;
  readonly reserve_pool: number;
  readonly pool_mode: string;
  /** 0: no bound of its own. */
  readonly max_connections: number;
  readonly current_connections: number;
  readonly max_client_connections: number;
  readonly current_client_connections: number;
  readonly paused: boolean;
  readonly disabled: boolean;
  readonly consistency: string;
}

export interface UserRow {
  readonly name: string;
  /** Null: that of the database. */
  readonly pool_mode: string | null;
  readonly max_user_connections: number;
  readonly current_connections: number;
  readonly current_client_connections: number;
}

export interface ProxyStatus {
  readonly proxyId: string;
  readonly cluster: string;
  readonly view: ClusterView;
  readonly freshness: FreshnessSnapshot;
  /** `LeaseView.leader()`: null while nothing may be sent to a leader. */
  readonly leader: LeaderTarget | null;
  /** The clock that `view`, `freshness` and `heldSinceMs` are on. */
  readonly nowMs: number;
  readonly heldWrites: number;
  /** When the oldest of the held writes began to wait; null when there is none. */
  readonly heldSinceMs: number | null;
  readonly inFlight: number;
  readonly clients: number;
  readonly maxClients: number;
  /** Connections that are still logging in. */
  readonly arriving: number;
  /** Sessions that wait for a server connection. */
  readonly waiting: number;
  /** Named statements of all sessions. */
  readonly prepared: number;
  /** An operator has paused some database, or all. */
  readonly paused: boolean;
  readonly classifier: Classifier['stats'];
  /** Stopping: no new clients. */
  readonly draining: boolean;
  /** A drill has it send its clients away for a moment. */
  readonly standsAside: boolean;
}

export type NodeRole = 'leader' | 'follower';

/** What the data path reports as it happens. */
export interface ProxyMetrics {
  /** What each session writes its units to. */
  readonly log: ActivityLog;
  /** A unit of leader work had to wait at the gate, and how that ended. */
  holdEnded(durationMs: number, outcome: 'served' | 'refused' | 'gone'): void;
  /** A read was run again elsewhere, or a refused write on the leader (S6). */
  retried(reason: 'recovery-conflict' | 'connection-lost' | 'learned-write' | 'other'): void;
  /** A read found no follower fresh enough; how its wait ended. */
  causalWaitEnded(durationMs: number, outcome: 'follower' | 'leader'): void;
  /** Work on the leader waited until the leader showed what its session had read on a follower. */
  settleWaitEnded(durationMs: number, outcome: 'settled' | 'refused' | 'unknown' | 'gone'): void;
  /** An error that the proxy itself (not a server) gave to a client. */
  clientError(sqlState: string): void;
  /** An error of a server that was passed on. */
  serverError(sqlState: string): void;
  /** A client's cancel was sent on to its server. */
  cancelled(): void;
}
