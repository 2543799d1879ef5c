import { type Logger, pino } from 'pino';
import { LiveConfig } from '../../common/config/live.ts';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { createProxyMetrics, type MetricsRegistry } from '../../proxy/admin/metrics.ts';
import { type Lsn, parseLsn, type Term } from '../../common/lsn.ts';
import type { MemberRecord } from '../../election/store/records.ts';
import type { AdminProviders, PoolRow, ProxyStatus } from '../../proxy/admin/types.ts';
import { NO_DRILLS } from './drills.ts';
import type { NodeFreshness } from '../../replication-monitor/types.ts';

/** A cluster of three as a proxy sees it: node1 leads term 7, node2 follows 300 ms behind, node3's agent is gone. */
export function exampleStatus(changes: Partial<ProxyStatus> = {}): ProxyStatus {
  return {
    proxyId: 'proxy1',
    cluster: 'main',
    view: {
      route: { term: 7n as Term, leader: 'node1', address: address(5001), hold: false, seq: 12, nextXid: '900' },
      members: new Map([
        ['node1', member('node1', 5001, { state: 'LEADER_OPEN' })],
        ['node2', member('node2', 5002, { streaming: true })],
      ]),
      proxies: new Map([
        [
          'proxy2',
          { id: 'proxy2', address: address(6433), httpUrl: 'http://x:1', appliedSeq: 12, heldWrites: 3, inFlight: 4 },
        ],
        [
          'proxy1',
          { id: 'proxy1', address: address(6432), httpUrl: 'http://x:2', appliedSeq: 12, heldWrites: 9, inFlight: 9 },
        ],
      ]),
      history: new Map(),
      pause: null,
      settings: null,
      confirmedAtMs: 99_800,
    },
    freshness: {
      term: 7n as Term,
      leader: 'node1',
      takenAtMs: 100_000,
      leaderHeardAtMs: 100_000,
      settledAsOfMs: 0,
      marks: [],
      nodes: new Map([
        ['node1', freshness('node1', 5001, { role: 'leader', freshAsOfMs: Infinity, lagBytes: 0n })],
        [
          'node2',
          freshness('node2', 5002, { freshAsOfMs: 99_700, lagBytes: 2048n, replayedLsn: parseLsn('0/3000100') }),
        ],
        [
          'node3',
          freshness('node3', 5003, {
            usable: false,
            freshAsOfMs: -Infinity,
            runningSinceMs: Infinity,
            unreachableSinceMs: null,
            settledAsOfMs: 0,
            unsettled: 0,
            lagBytes: null,
            timeline: 0,
            problem: 'connection refused',
          }),
        ],
      ]),
    },
    leader: { term: 7n as Term, node: 'node1', host: '127.0.0.1', port: 5001, seq: 12 },
    nowMs: 100_000,
    heldWrites: 2,
    heldSinceMs: 99_500,
    inFlight: 1,
    clients: 5,
    maxClients: 100,
    arriving: 1,
    waiting: 1,
    prepared: 2,
    paused: false,
    classifier: { hits: 90, misses: 10, entries: 8, parseMs: 1.5 },
    draining: false,
    standsAside: false,
    ...changes,
  };
}

const AT = new Date('2026-01-01T00:00:00Z');
const ADDRESSES = { local_addr: '127.0.0.1', local_port: 6432, connect_time: AT, request_time: null, closing: false };

export function exampleProviders(
  status: () => ProxyStatus = () => exampleStatus(),
  metrics: MetricsRegistry = exampleMetrics(),
): AdminProviders {
  const { proxy, cluster } = leaseholdConfig.parse({});
  return {
    status,
    drills: NO_DRILLS,
    pools: () => [examplePool('node2', 'follower'), examplePool('node1', 'leader')],
    clients: () => [
      {
        ...ADDRESSES,
        id: 4,
        user: 'app',
        database: 'app',
        state: 'held',
        addr: '127.0.0.1',
        port: 50_000,
        application_name: 'тест',
        wait_ms: 1500.25,
        node: null,
        server: null,
        pins: ['listen', 'advisory-lock'],
        prepared_statements: 2,
        tls: 'TLSv1.3',
      },
    ],
    servers: () => [
      {
        ...ADDRESSES,
        key: 'node2:77',
        user: 'app',
        database: 'app',
        state: 'idle',
        addr: '127.0.0.1',
        port: 5002,
        application_name: '',
        client: null,
        remote_pid: 77,
        prepared_statements: 1,
        tls: '',
        node: 'node2',
        role: 'follower',
        age_ms: 60_000,
        idle_ms: 5,
      },
    ],
    shadow: () => [],
    balance: () => [
      { node: 'node2', weight: 2, own_zone: true, sv_active: 2, cl_waiting: 1, latency_ms: null, set_aside_ms: 0 },
    ],
    databases: () => [
      {
        name: 'app',
        pool_size: 20,
        min_pool_size: 0,
        reserve_pool: 0,
        pool_mode: 'transaction',
        max_connections: 0,
        current_connections: 5,
        max_client_connections: 0,
        current_client_connections: 1,
        paused: false,
        disabled: true,
        consistency: 'session',
      },
    ],
    users: () => [
      {
        name: 'app',
        pool_mode: null,
        max_user_connections: 0,
        current_connections: 5,
        current_client_connections: 1,
      },
    ],
    served: (node) => metrics.served(node),
    activity: () => ({ recorder: metrics.recorder, averages: metrics.averages, nowMs: metrics.log.nowMs() }),
    config: () => ({ current: { cluster, proxy: { ...proxy, maxClients: 7 } }, defaults: { cluster, proxy } }),
    memory: () => ({ rss: 100, heapTotal: 50, heapUsed: 30, external: 4, arrayBuffers: 2 }),
  };
}

function examplePool(node: string, role: 'leader' | 'follower'): PoolRow {
  return {
    database: 'app',
    user: 'app',
    node,
    role,
    cl_active: 2,
    cl_waiting: 1,
    sv_active: 2,
    sv_being_canceled: 0,
    sv_idle: 3,
    sv_login: 0,
    sv_pinned: 0,
    maxwait_ms: 12.34,
    pool_size: 20,
    min_pool_size: 1,
    reserve_pool: 5,
    sv_closing: 0,
    pool_mode: 'transaction',
    paused: false,
  };
}

/** Of a proxy with the default configuration, or this one. */
export function exampleMetrics(proxy: object = {}, logger: Logger = pino({ level: 'silent' })): MetricsRegistry {
  const live = new LiveConfig(leaseholdConfig.parse({ proxy }).proxy);
  return createProxyMetrics({ live, logger });
}

export function member(node: string, port: number, changes: Partial<MemberRecord> = {}): MemberRecord {
  return {
    node,
    address: address(port),
    apiUrl: `http://127.0.0.1:${port + 1000}`,
    state: 'FOLLOWER',
    term: 7n as Term,
    timeline: 3,
    flushedLsn: parseLsn('0/3000000'),
    replayedLsn: parseLsn('0/3000000'),
    streaming: false,
    systemId: '1',
    postgresVersion: '15.1',
    postgresPid: port + 1,
    agentPid: port + 2,
    priority: 50,
    noFailover: false,
    note: null,
    ...changes,
  };
}

function freshness(node: string, port: number, changes: Partial<NodeFreshness>): NodeFreshness {
  return {
    node,
    ...address(port),
    role: 'follower',
    freshAsOfMs: 0,
    runningSinceMs: 0,
    unreachableSinceMs: null,
    settledAsOfMs: 0,
    unsettled: 0,
    usable: true,
    streaming: true,
    timeline: 3,
    flushedLsn: parseLsn('0/3000200'),
    replayedLsn: 0n as Lsn,
    lagBytes: 0n,
    problem: null,
    probeMs: 1,
    ...changes,
  };
}

function address(port: number): { host: string; port: number } {
  return { host: '127.0.0.1', port };
}
