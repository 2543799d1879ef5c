import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { createAuthority, type Issued } from '../../test/support/certificates.ts';
import { type LocalCluster, startLocalCluster } from '../../test/support/local-cluster.ts';
import { initialisePgbench } from '../../test/support/pgbench.ts';
import { freePorts } from '../../test/support/ports.ts';
import { type LeaseholdPlan, startLeasehold } from './leasehold.ts';
import type { SideName } from './matrix.ts';
import type { Peers } from './peers/fetch.ts';
import type { PeerPlan } from './peers/config.ts';
import { type PeerName, startPeer } from './peers/start.ts';
import { BIG_SQL } from './workloads.ts';

/** One way to the database. */
export interface Side {
  readonly name: SideName;
  readonly port: number;
  /** Of the program between; null for a direct connection. */
  readonly pid: number | null;
  readonly version: string;
  /** For the clients: PGOPTIONS. */
  readonly env: NodeJS.ProcessEnv;
}

export type RunningSide = Side & { stop(): Promise<void> };

export interface Stage {
  readonly sides: ReadonlyMap<SideName, Side>;
  /** By side: why it is not there. */
  readonly absent: ReadonlyMap<SideName, string>;
  readonly postgres: string;
  /** Of the user app, as PostgreSQL keeps it. */
  readonly verifier: string;
  /** Another instance of a side, that has done nothing yet. */
  start(name: SideName): Promise<RunningSide>;
  stop(): Promise<void>;
}

export const POOL_SIZE = 20;
const MAX_CLIENTS = 12_000;
const PEERS: readonly PeerName[] = ['pgbouncer', 'odyssey', 'haproxy', 'pgpool'];
const LEVELS = new Map<SideName, NodeJS.ProcessEnv>([
  ['leasehold', { PGOPTIONS: '-c leasehold.consistency=strong' }],
  ['leasehold-eventual', { PGOPTIONS: '-c leasehold.consistency=eventual' }],
  ['leasehold-session', { PGOPTIONS: '-c leasehold.consistency=session' }],
]);

/**
 * A cluster of three servers, filled; the proxy as a process of its own beside it, and the peers that the cells need, each one
 * process over the same leader. `stop` ends and removes everything.
 */
export async function setStage(
  wanted: ReadonlySet<SideName>,
  peers: Peers | string,
  options: { readonly scale: number; readonly mostPgpool: number; readonly report: (line: string) => void },
): Promise<Stage> {
  const { report } = options;
  const running: { stop(): Promise<void> }[] = [];
  const stop = async (): Promise<void> => {
    for (const each of running.reverse()) await each.stop();
  };
  try {
    report('starting three servers …');
    const cluster = await startLocalCluster();
    running.push(cluster);
    await initialisePgbench(cluster.port, options.scale);
    await cluster.query(BIG_SQL);
    const authority = createAuthority();
    running.push({ stop: async () => authority.remove() });
    const certificate = authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
    const { certFile, keyFile } = readable(certificate, cluster.dir);
    const servers = await serversOf(cluster);
    const verifier = await verifierOf(cluster);
    const sides = new Map<SideName, Side>();
    const absent = new Map<SideName, string>();
    const plan = { poolSize: POOL_SIZE, maxClients: MAX_CLIENTS, certFile, keyFile };
    const start = async (name: SideName): Promise<RunningSide> => {
      if (!isPeer(name)) return await leaseholdSide(name, cluster, plan);
      return await peerSide(name, { ...plan, servers, verifier }, peers, cluster.dir, options.mostPgpool);
    };
    sides.set('direct', { name: 'direct', port: servers[0]?.port ?? 0, pid: null, version: '', env: {} });
    const own = await start('leasehold');
    running.push(own);
    for (const [name, env] of LEVELS) sides.set(name, { ...own, name, env });
    for (const name of PEERS) {
      if (!wanted.has(name)) continue;
      try {
        const side = await start(name);
        running.push(side);
        sides.set(name, side);
      } catch (error) {
        absent.set(name, (error as Error).message);
        report(`without ${name}: ${(error as Error).message}`);
      }
    }
    await cluster.untilInStep();
    const [row] = await cluster.query('SHOW server_version');
    return { sides, absent, verifier, postgres: String(row?.['server_version']), start, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function isPeer(name: SideName): name is PeerName {
  return (PEERS as readonly string[]).includes(name);
}

async function leaseholdSide(name: SideName, cluster: LocalCluster, plan: LeaseholdPlan): Promise<RunningSide> {
  const proxy = await startLeasehold(cluster, plan);
  return { ...proxy, name, env: LEVELS.get(name) ?? {} };
}

async function peerSide(
  name: PeerName,
  plan: Omit<PeerPlan, 'port' | 'folder'>,
  peers: Peers | string,
  dir: string,
  mostPgpool: number,
): Promise<RunningSide> {
  if (typeof peers === 'string') throw new Error(peers);
  const [port] = (await freePorts(1)) as [number];
  const folder = join(dir, `${name}-${port}`);
  mkdirSync(folder, { recursive: true });
  const maxClients = name === 'pgpool' ? mostPgpool : plan.maxClients;
  const peer = await startPeer(name, { ...plan, port, folder, maxClients }, peers);
  return { ...peer, name, env: {} };
}

/** Copies that the peers may read, which do not run as root. */
function readable({ cert, key }: Issued, dir: string): { readonly certFile: string; readonly keyFile: string } {
  const [certFile, keyFile] = [join(dir, 'bench.crt'), join(dir, 'bench.key')];
  writeFileSync(certFile, cert, { mode: 0o644 });
  writeFileSync(keyFile, key, { mode: 0o644 });
  return { certFile, keyFile };
}

/** The leader, then its followers. */
async function serversOf(cluster: LocalCluster): Promise<{ host: string; port: number }[]> {
  const { nodes, leader } = await cluster.status();
  const order = [...nodes].sort((a, b) => Number(b.node === leader?.node) - Number(a.node === leader?.node));
  return order.map(({ address }) => ({ host: '127.0.0.1', port: Number(address.split(':')[1]) }));
}

async function verifierOf(cluster: LocalCluster): Promise<string> {
  const [leader] = await serversOf(cluster);
  const client = new pg.Client({
    host: '127.0.0.1',
    port: leader?.port,
    user: 'postgres',
    password: 'postgres',
    database: 'app',
  });
  await client.connect();
  try {
    const { rows } = (await client.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")) as pg.QueryResult<{
      rolpassword: string;
    }>;
    return rows[0]?.rolpassword ?? '';
  } finally {
    await client.end();
  }
}
