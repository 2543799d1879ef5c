import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { writeHeapSnapshot } from 'node:v8';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { LiveConfig } from '../common/config/live.ts';
import { proxyConfig } from '../common/config/schema.ts';
import { parseTerm } from '../common/lsn.ts';
import { createProxyMetrics } from '../proxy/admin/metrics.ts';
import { CancelKeys } from '../proxy/auth/cancel-keys.ts';
import type { LeaseView } from '../proxy/cluster/types.ts';
import { createWriteGate } from '../proxy/cluster/write-gate.ts';
import { DirectSocket } from '../proxy/net/direct-socket.ts';
import { PoolSet } from '../proxy/pool/pool-set.ts';
import { NO_OWN } from '../proxy/routing/own-settings.ts';
import { NO_SETTINGS } from '../proxy/routing/settings-image.ts';
import { createLeaseClock } from '../proxy/server/lease-clock.ts';
import { poolSettings } from '../proxy/server/pool-settings.ts';
import type { SessionContext } from '../proxy/session/context.ts';
import { StatementStore } from '../proxy/session/prepared.ts';
import { SequenceReaders } from '../proxy/session/sequences.ts';
import { Session } from '../proxy/session/session.ts';
import { ShadowLog } from '../proxy/session/shadow.ts';
import { createClassifier } from '../proxy/sql/classify.ts';
import { someCatalog } from '../test/support/volatility.ts';
import { createReplicationMonitor } from '../replication-monitor/sampler.ts';

/**
 * What one read costs in the proxy's own code and in the kernel, without PostgreSQL, etcd or pgbench: sessions of this process between a
 * process that plays clients and servers. For a look at the path itself, with `node --cpu-prof` too; what it is
 * worth beside others `npm run bench` tells.
 *
 *     node bench/session-path.ts [simple|prepared] [--clients 64] [--pool 20] [--seconds 4]
 *     node bench/session-path.ts --idle --clients 10000      memory of one that does nothing
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: 'string', default: '64' },
    pool: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '4' },
    idle: { type: 'boolean', default: false },
  },
});
const protocol = positionals[0] ?? 'simple';
const WARM_MS = 1500;
const sessions = new Set<Session>();

const proxy = proxyConfig.parse({ pool: { size: Number(values.pool) } });
const live = new LiveConfig(proxy);
const logger = pino({ level: 'silent' });
const clock = createLeaseClock();
const peer = fork(join(import.meta.dirname, 'harness/session-peer-main.ts'), [protocol]);
const [serverPort] = (await once(peer, 'message')) as [number];
const context = await makeContext(serverPort);
const listener = createServer({ noDelay: true }, (socket) => startSession(DirectSocket.adopt(socket)));
listener.listen(0, '127.0.0.1');
await once(listener, 'listening');
const memory = process.memoryUsage();
peer.send({ port: (listener.address() as AddressInfo).port, clients: Number(values.clients), idle: values.idle });

if (values.idle) await tellMemory();
const count = (): number => context.metrics.recorder.totals().get('app')?.queries ?? 0;
await new Promise((done) => setTimeout(done, WARM_MS));
const before = { count: count(), usage: process.cpuUsage(), atMs: performance.now() };
await new Promise((done) => setTimeout(done, Number(values.seconds) * 1000));
const used = process.cpuUsage(before.usage);
const done = count() - before.count;
const seconds = (performance.now() - before.atMs) / 1000;
const each = (us: number): string => (us / done).toFixed(2);
process.stdout.write(
  `${protocol}: ${(done / seconds).toFixed(0)} a second, ${each(used.user + used.system)} µs each (${each(used.user)} user, ${each(used.system)} system)\n`,
);
peer.kill();
process.exit(0);

async function tellMemory(): Promise<void> {
  const { heapUsed, external, rss } = memory;
  while (sessions.size < Number(values.clients)) await new Promise((done) => setTimeout(done, 100));
  await new Promise((done) => setTimeout(done, 3000));
  globalThis.gc?.();
  const now = process.memoryUsage();
  const each = (bytes: number): string => (bytes / sessions.size / 1024).toFixed(2);
  const parts = `heap ${each(now.heapUsed - heapUsed)}, external ${each(now.external - external)}`;
  process.stdout.write(`${sessions.size} idle sessions: ${each(now.rss - rss)} KiB each resident (${parts})\n`);
  if (process.env['SNAPSHOT'] !== undefined) writeHeapSnapshot(process.env['SNAPSHOT']);
  peer.kill();
  process.exit(0);
}

function startSession(socket: DirectSocket): void {
  socket.pause();
  const parameters = new Map<string, string>();
  const client = {
    kind: 'client',
    socket,
    user: 'app',
    database: 'app',
    parameters,
    replication: 'off',
    protocolMinor: 0,
    credentials: { kind: 'none', how: 'trust' },
  } as const;
  const key = { processId: 1, secretKey: Buffer.alloc(4) };
  const session = new Session(context, client as never, key, NO_SETTINGS, NO_OWN, () => undefined);
  sessions.add(session);
  session.start();
}

async function makeContext(port: number): Promise<SessionContext & { metrics: ReturnType<typeof createProxyMetrics> }> {
  const metrics = createProxyMetrics({ live, logger });
  const term = parseTerm(1);
  const target = { term, node: 'node1', host: '127.0.0.1', port, seq: 1 };
  const lease: LeaseView = {
    view: null as never,
    leader: () => target,
    stillLeads: (of) => of === term && clock.nowMs() > 0,
    explain: () => '',
    subscribe: () => () => undefined,
    close: async () => undefined,
  };
  const monitor = createReplicationMonitor({ clock, logger, credentials: { user: 'x', password: 'x' } });
  const pools = new PoolSet({
    settings: poolSettings(proxy, { mode: 'disable' } as never),
    clock,
    logger,
    login: async () => {
      const socket = new DirectSocket({ noDelay: true } as object);
      socket.connect({ host: '127.0.0.1', port });
      await once(socket, 'connect');
      return { socket, processId: 1, secretKey: Buffer.alloc(4), parameters: new Map(), protocolMinor: 0 };
    },
  });
  const classifier = await createClassifier();
  const catalog = { ...someCatalog, settersExist: false, invalidate: () => undefined };
  return {
    config: proxy,
    live,
    clock,
    logger,
    classifier,
    lease,
    monitor,
    pools,
    metrics,
    gate: createWriteGate({ lease, clock, limits: () => proxy.hold }),
    roleDefaults: null as never,
    statements: new StatementStore(),
    cancelKeys: new CancelKeys('bench'),
    catalogOf: () => catalog,
    databaseFloors: new Map(),
    version: '',
    shadow: new ShadowLog(monitor, clock),
    sequenceReaders: new SequenceReaders(),
    cluster: 'bench',
  };
}
