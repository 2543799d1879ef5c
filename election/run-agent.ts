import { randomUUID } from 'node:crypto';
import { bootTimeClock } from '../common/clock.ts';
import type { AgentConfig, ClusterConfig, LeaseholdConfig } from '../common/config/schema.ts';
import { LeaseholdError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { Agent } from './agent.ts';
import { NodeFaults } from './agent/drill-faults.ts';
import { openLocalState } from './agent/local-state.ts';
import { createNodeControl } from './agent/node-control.ts';
import { type NodeApi, startNodeApi } from './api.ts';
import { initialState, step } from './core/step.ts';
import type { CoreConfig } from './core/types.ts';
import { layoutOf } from './postgres/files.ts';
import { identityFor } from './postgres/identity.ts';
import { createPostgresServer } from './postgres/server.ts';
import { requireNoStranger } from './postgres/stranger.ts';
import { cuttable } from './store/cuttable.ts';
import { createEtcdStore } from './store/etcd.ts';
import { startWatchdog } from './watchdog.ts';

/** For an orderly stop: a leader waits for its followers to have everything. The process itself gets 25 s. */
const STOP_LIMIT_MS = 15_000;
const KILL_LIMIT_MS = 3000;
const CLOSE_LIMIT_MS = 2000;

/**
 * The agent of one node, until `signal` aborts: then it hands leadership over, stops PostgreSQL and resolves. Rejects
 * where it cannot go on: the message says why and what to do. PostgreSQL is stopped in either case.
 */
export async function runAgent(config: LeaseholdConfig, logger: Logger, signal: AbortSignal): Promise<void> {
  const { agent: agentConfig, cluster, service } = config;
  if (agentConfig === undefined || service === undefined) {
    throw new LeaseholdError('CONFIG', 'the configuration has no agent or no service part');
  }
  const layout = layoutOf(agentConfig.dataDir);
  const user = identityFor(agentConfig.postgres.osUser);
  requireNoStranger(layout, user.uid);
  const postgres = createPostgresServer({ agent: agentConfig, cluster, service, logger });
  const localFile = await openLocalState(layout, user);
  const local = localFile.read();
  let agent: Agent | null = null;
  let faults: NodeFaults | null = null;
  const control = createNodeControl(
    () => agent,
    postgres,
    () => faults,
  );
  const { host, port } = agentConfig.api;
  await using api = disposable(await startNodeApi({ host, port, token: cluster.apiToken, node: control, logger }));
  const clock = bootTimeClock();
  const dieWithAgent = process.env['LEASEHOLD_DIE_WITH_PARENT'] === '1';
  await using store = disposable(cuttable(createEtcdStore({ endpoints: cluster.etcd, tls: cluster.etcdTls, logger })));
  const { drills } = config;
  const { dataDir, socketDir } = layout;
  faults = new NodeFaults({ drills, store: store.value, dataDir, socketDir, port: agentConfig.listen.port, logger });
  const watchdog = startWatchdog({ agent: agentConfig, clock, logger, dieWithAgent });
  const core = coreConfig(agentConfig, cluster, api.value);
  // An orderly stop needs a PostgreSQL that moves and an etcd that answers.
  signal.addEventListener('abort', () => void faults?.lift(), { once: true });
  agent = new Agent({
    step,
    initial: initialState(core, local),
    store: store.value,
    endpoints: cluster.etcd,
    postgres,
    watchdog,
    clock,
    logger,
    saveLocal: (state) => localFile.write(state),
  });
  logger.info(
    { event: 'agent.started', node: core.node, cluster: core.cluster, apiUrl: core.apiUrl },
    `agent of ${core.node} started, PostgreSQL at ${core.address.host}:${core.address.port}`,
  );
  let error: string | null;
  try {
    error = await live(agent, logger, signal);
  } finally {
    faults.close();
    // The core ends only with PostgreSQL stopped; whatever went wrong, nothing may stay behind unguarded.
    if (await endsWithin(postgres.killNow(), KILL_LIMIT_MS)) await endsWithin(watchdog.close(), CLOSE_LIMIT_MS);
    else watchdog.feed(clock.nowMs() - 1);
  }
  if (error !== null) throw new LeaseholdError('AGENT', error);
  logger.info({ event: 'agent.stopped', node: core.node }, 'agent stopped');
}

/** Runs it to its end; the text says why it could not go on. */
async function live(agent: Agent, logger: Logger, signal: AbortSignal): Promise<string | null> {
  let limit: NodeJS.Timeout | undefined;
  const onAbort = () => {
    logger.info({ event: 'agent.stopping' }, 'asked to stop');
    limit = setTimeout(() => {
      logger.error({ event: 'agent.stop-overdue', limitMs: STOP_LIMIT_MS }, 'no orderly stop in time');
      agent.abandon();
    }, STOP_LIMIT_MS);
    agent.command('stop');
  };
  try {
    agent.start();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    return await agent.finished;
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', onAbort);
  }
}

function coreConfig(agent: AgentConfig, cluster: ClusterConfig, api: NodeApi): CoreConfig {
  return {
    cluster: cluster.name,
    node: agent.node,
    address: agent.advertise ?? agent.listen,
    apiUrl: agent.api.advertiseUrl ?? api.url,
    bootId: randomUUID(),
    agentPid: process.pid,
    ttlMs: cluster.ttlMs,
    marginMs: cluster.marginMs,
    syncAcks: cluster.syncAcks,
    withoutFollower: cluster.withoutFollower,
    priority: agent.priority,
    noFailover: agent.noFailover,
  };
}

/** For `await using`: closes it, but does not wait for ever. */
function disposable<T extends { close(): Promise<void> }>(value: T): AsyncDisposable & { readonly value: T } {
  return {
    value,
    async [Symbol.asyncDispose]() {
      await endsWithin(value.close(), CLOSE_LIMIT_MS);
    },
  };
}

/** Whether the promise was fulfilled in that time. */
async function endsWithin(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  const ended = promise.then(
    () => true,
    () => false,
  );
  const result = await Promise.race([ended, limit]);
  clearTimeout(timer);
  return result;
}
