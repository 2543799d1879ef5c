import pg from 'pg';
import { Random } from '../simulation/random.ts';
import { check, type Violation } from './checker.ts';
import type { ClientContext } from './client.ts';
import { NotWithin, PROXIES, TortureCluster } from './cluster.ts';
import { compareNodes, readRows } from './contents.ts';
import { Nemesis } from './nemesis.ts';
import type { Capability, FaultName, Round } from './plan.ts';
import { runReader } from './reader.ts';
import { Recorder } from './recorder.ts';
import { makeReport, type TortureReport } from './report.ts';
import { runWriter } from './writer.ts';

export interface TortureOptions {
  readonly seed: number;
  /** The nemesis ends with the round that is under way then, or after so many rounds. */
  readonly minutes: number;
  readonly rounds?: number;
  readonly writers: number;
  readonly readers: number;
  readonly ttlMs: number;
  readonly only?: readonly FaultName[];
  readonly always?: Round;
  readonly keep?: boolean;
  readonly say: (line: string) => void;
}

const SHARED_KEYS = [1001, 1002, 1003, 1004];

/** One whole run: a cluster, clients, faults, and the verdict. The cluster is gone when it resolves, or rejects because the signal aborted. */
export async function torture(options: TortureOptions, signal: AbortSignal): Promise<TortureReport> {
  const startedMs = performance.now();
  const say = (line: string): void =>
    options.say(`[${((performance.now() - startedMs) / 1000).toFixed(1).padStart(6)} s] ${line}`);
  const recorder = new Recorder();
  const onUnexpectedEnd = (name: string, how: string): void => {
    say(`${name} ended by itself (${how})`);
    recorder.fault(`${name} ended by itself (${how})`);
  };
  await using cluster = await TortureCluster.start({ ttlMs: options.ttlMs, onUnexpectedEnd }, signal);
  const leftOut = [
    ...(cluster.network.missing === null ? [] : [`cuts in the network (${cluster.network.missing})`]),
    ...(cluster.disks.missing === null ? [] : [`full disks (${cluster.disks.missing})`]),
  ];
  say(leftOut.length === 0 ? 'every part has a network namespace of its own' : `left out: ${leftOut.join(', ')}`);
  await makeTables(cluster, options.writers);
  const capabilities = new Set<Capability>();
  if (cluster.network.missing === null) capabilities.add('network');
  if (cluster.disks.missing === null) capabilities.add('disks');
  const { ttlMs, seed, only, always } = options;
  const plan = {
    ttlMs,
    capabilities,
    ...(only === undefined ? {} : { only }),
    ...(always === undefined ? {} : { always }),
  };
  const nemesis = new Nemesis(cluster, recorder, { ...plan, seed, say });
  const violations = await underLoad(options, { cluster, recorder, nemesis }, signal);
  const report = makeReport({ options, leftOut, recorder, nemesis, observer: cluster.observer, violations });
  cluster.keep = options.keep === true || !report.passed;
  if (cluster.keep)
    say(`kept: ${cluster.folder} (to remove it: umount ${cluster.folder}/*-disk; rm -r ${cluster.folder})`);
  return report;
}

interface Parts {
  readonly cluster: TortureCluster;
  readonly recorder: Recorder;
  readonly nemesis: Nemesis;
}

async function underLoad(options: TortureOptions, parts: Parts, signal: AbortSignal): Promise<Violation[]> {
  const { cluster, recorder, nemesis } = parts;
  let running = true;
  const clients = startClients(options, parts, () => running && !signal.aborted);
  let stuck: string | null = null;
  try {
    const endMs = performance.now() + options.minutes * 60_000;
    await nemesis.run(endMs, options.rounds ?? Infinity, signal);
    await nemesis.recovered(signal);
  } catch (error) {
    if (!(error instanceof NotWithin)) throw error;
    stuck = error.message;
    options.say(stuck);
  } finally {
    running = false;
    await Promise.all(clients);
  }
  if (stuck !== null) recorder.fault(stuck);
  const { rows, differences } = await compareNodes(cluster, signal);
  for (const difference of differences) recorder.fault(difference);
  return check(recorder.operations, rows ?? (await readRows(cluster)));
}

/** Half of the readers move between the proxies. */
function startClients(options: TortureOptions, { cluster, recorder }: Parts, running: () => boolean): Promise<void>[] {
  const random = new Random(options.seed ^ 0x5eed);
  const proxies = PROXIES.map((name) => ({ name, url: cluster.proxyUrl(name, 'app') }));
  const context = (): ClientContext => ({ recorder, proxies, running, random: random.fork(), sharedKeys: SHARED_KEYS });
  const keys = [...SHARED_KEYS, 1, 2];
  return [
    ...Array.from({ length: options.writers }, (_, i) => runWriter(context(), i)),
    ...Array.from({ length: options.readers }, (_, i) => runReader(context(), i, keys, i % 2 === 1)),
  ];
}

/** A row of `items` names the timeline and the server on which it was written. */
async function makeTables(cluster: TortureCluster, writers: number): Promise<void> {
  const url = cluster.proxyUrl('proxy1', 'postgres');
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 30_000 });
  client.on('error', () => {});
  await client.connect();
  await client.query(`
    CREATE SCHEMA torture;
    CREATE FUNCTION torture.timeline() RETURNS int LANGUAGE sql VOLATILE
      AS $$ SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int $$;
    CREATE TABLE torture.heads (key int PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE torture.items (key int, n bigint, value bigint NOT NULL UNIQUE,
      timeline int NOT NULL DEFAULT torture.timeline(),
      server text NOT NULL DEFAULT host(inet_server_addr()) || ':' || inet_server_port(), PRIMARY KEY (key, n));
    GRANT USAGE ON SCHEMA torture TO app;
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA torture TO app;
  `);
  const keys = [...SHARED_KEYS, ...Array.from({ length: writers }, (_, i) => i + 1)];
  await client.query('INSERT INTO torture.heads SELECT unnest($1::int[]), 0', [keys]);
  await client.end();
}
