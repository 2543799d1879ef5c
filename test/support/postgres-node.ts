import { Client } from 'pg';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { agentConfig, clusterConfig, serviceConfig } from '../../common/config/schema.ts';
import { parseTerm } from '../../common/lsn.ts';
import type { PeerAddress, PostgresSample, PostgresServer } from '../../election/postgres/port.ts';
import { createPostgresServer } from '../../election/postgres/server.ts';

/** Real servers for the tests of `election/postgres/`, each below a folder that the test removes. */
export interface Node {
  readonly server: PostgresServer;
  readonly peer: PeerAddress;
  readonly dataDir: string;
}

/** Of the replication role. */
export const PASSWORD = "re'pl\\:1";

export const signal = (): AbortSignal => AbortSignal.timeout(30_000);

/** What a node's configuration has beside the rest. */
export interface NodeExtra {
  readonly parameters?: Readonly<Record<string, string>>;
  readonly tls?: object;
}

export function makeNode(folder: string, name: string, port: number, extra: NodeExtra = {}): Node {
  const dataDir = join(folder, name, 'data');
  const agent = agentConfig.parse({
    node: name,
    dataDir,
    listen: { port },
    postgres: { parameters: extra.parameters ?? {} },
    replication: { password: PASSWORD, tls: extra.tls ?? {} },
    bootstrap: {
      superuserPassword: 'postgres',
      roles: [{ name: 'app', password: 'app' }],
      databases: [{ name: 'app', owner: 'app' }],
    },
  });
  const options = {
    agent,
    cluster: clusterConfig.parse({}),
    service: serviceConfig.parse({ password: 'service' }),
    logger: pino({ level: process.env['LEASEHOLD_LOG_LEVEL'] ?? 'silent' }),
  };
  const peer = { node: name, term: parseTerm(1), host: '127.0.0.1', port };
  return { server: createPostgresServer(options), peer, dataDir };
}

/** As a leader of that term. */
export function inTerm(node: Node, term: number): PeerAddress {
  return { ...node.peer, term: parseTerm(term) };
}

export async function connect(node: Node, user: string, password: string, database: string): Promise<Client> {
  const client = new Client({ host: node.peer.host, port: node.peer.port, user, password, database });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export async function until(
  node: Node,
  what: string,
  done: (sample: PostgresSample) => boolean,
  limitMs = 10_000,
): Promise<PostgresSample> {
  const end = performance.now() + limitMs;
  let last: PostgresSample | null = null;
  while (performance.now() < end) {
    last = await node.server.sample(signal());
    if (last !== null && done(last)) return last;
    await sleep(10);
  }
  throw new Error(
    `${node.peer.node} never: ${what}; last ${JSON.stringify(last, (_, v) => (typeof v === 'bigint' ? `${v}` : v))}`,
  );
}

export async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  console.log(`# ${what}: ${(performance.now() - start).toFixed(1)} ms`);
  return result;
}
