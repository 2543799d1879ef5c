import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { Client, type ClientConfig } from 'pg';
import { leaseholdConfig } from '../../common/config/schema.ts';
import { type RunningProxy, runProxy } from '../../proxy/server/run-proxy.ts';
import type { ProxyCluster } from './proxy-cluster.ts';

/** A client of a proxy that listens on `port`, as user `app`. */
export async function connectTo(port: number, config: ClientConfig = {}): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port, user: 'app', password: 'app', database: 'app', ...config });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** A further proxy of the cluster, in this process; `stop` ends it. */
export async function startProxy(
  cluster: ProxyCluster,
  id: string,
  settings: Record<string, unknown> = {},
): Promise<{ readonly port: number; readonly proxy: RunningProxy; stop(): Promise<void> }> {
  const config = leaseholdConfig.parse({
    cluster: { etcd: [cluster.etcd.endpoint] },
    service: { password: 'service' },
    proxy: { id, listen: { port: 0 }, http: { port: 0 }, consoleUsers: ['postgres', 'app'], ...settings },
  });
  const stopping = new AbortController();
  const proxy = await runProxy({ config, logger: pino({ level: 'silent' }), signal: stopping.signal });
  await until(async () => (await fetch(`${proxy.httpUrl}/readyz`).catch(() => null))?.status === 200, `${id} is ready`);
  const stop = async (): Promise<void> => {
    stopping.abort();
    await proxy.closed;
  };
  return { port: proxy.address.port, proxy, stop };
}

/** Waits for a condition, at most ten seconds. */
export async function until(holds: () => Promise<boolean> | boolean, what = 'it holds'): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`in ten seconds it did not come true that ${what}`);
    await sleep(20);
  }
}

/** The node that served the last statement of this session. */
export async function nodeOf(client: Client): Promise<string> {
  return (await client.query('SHOW leasehold.node')).rows[0]['leasehold.node'] as string;
}

export async function show(client: Client, name: string): Promise<string> {
  return (await client.query(`SHOW ${name}`)).rows[0][name] as string;
}

/** Runs the statement until it was served by such a node: a follower that has to catch up first. */
export async function untilServedBy(client: Client, sql: string, isRight: (node: string) => boolean): Promise<void> {
  await until(async () => {
    await client.query(sql);
    return isRight(await nodeOf(client));
  }, `"${sql}" is served elsewhere`);
}

export async function pauseReplay(cluster: ProxyCluster, ...nodes: readonly string[]): Promise<void> {
  for (const node of nodes) {
    await cluster.sql(node, 'SELECT pg_wal_replay_pause()');
    await until(
      async () => (await cluster.sql(node, 'SELECT pg_get_wal_replay_pause_state()')) === 'paused',
      `${node} has paused`,
    );
  }
}

export async function resumeReplay(cluster: ProxyCluster, ...nodes: readonly string[]): Promise<void> {
  for (const node of nodes) await cluster.sql(node, 'SELECT pg_wal_replay_resume()');
}
