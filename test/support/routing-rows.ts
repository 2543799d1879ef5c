import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { connectTo, nodeOf } from './consistency.ts';
import type { ProxyCluster } from './proxy-cluster.ts';

const run = promisify(execFile);

/** One row of ROUTING.md, or one way in which it shows: the last of `steps` is the statement that is meant. */
export interface Row {
  readonly name: string;
  readonly steps: readonly string[];
  readonly at: 'leader' | 'follower';
  /** SQLSTATE of the last step, where it must fail. */
  readonly code?: string;
  /** What the last step must have done, asked of the leader itself. */
  readonly effect?: readonly [question: string, answer: string];
}

/** Which of the two the node is. */
export function roleOf(cluster: ProxyCluster, node: string): 'leader' | 'follower' {
  return node === cluster.leader ? 'leader' : 'follower';
}

/** Runs the steps in a session of their own; where the last one was served, and how it ended. */
export async function runRow(
  cluster: ProxyCluster,
  steps: readonly string[],
): Promise<{ readonly at: 'leader' | 'follower'; readonly code: string | undefined; readonly client: Client }> {
  const client = await connectTo(cluster.port);
  let code: string | undefined;
  for (const [index, step] of steps.entries()) {
    const error = await client.query(step).then(
      () => null,
      (reason: unknown) => reason as { code?: string; message: string },
    );
    if (error !== null && index < steps.length - 1) throw new Error(`${step}: ${error.message}`);
    code = error?.code;
  }
  return { at: await lastServedBy(cluster, client), code, client };
}

async function lastServedBy(cluster: ProxyCluster, client: Client): Promise<'leader' | 'follower'> {
  // In a failed transaction nothing is told: then it is on its server, or was.
  const node = await nodeOf(client).catch(async () => {
    await client.query('ROLLBACK');
    return await nodeOf(client);
  });
  return roleOf(cluster, node);
}

/** psql through the proxy, with these commands in one session; its standard output. */
export async function psql(cluster: ProxyCluster, ...commands: readonly string[]): Promise<string> {
  const { stdout } = await run(
    'psql',
    ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...commands.flatMap((each) => ['-c', each])],
    {
      env: {
        ...process.env,
        PGHOST: '127.0.0.1',
        PGPORT: String(cluster.port),
        PGUSER: 'app',
        PGPASSWORD: 'app',
        PGDATABASE: 'app',
      },
    },
  );
  return stdout.trim();
}

/** Statement, and the reason that SHOW CLIENTS must give from then on; what ends it, where something does. */
export const PINS: readonly (readonly [name: string, steps: readonly string[], pin: string, ends: string | null])[] = [
  ['LISTEN', ['LISTEN c'], 'listen', 'UNLISTEN *'],
  ['a temporary table', ['CREATE TEMPORARY TABLE temp1 (i int)'], 'temporary-objects', 'DISCARD ALL'],
  ['a table in pg_temp', ['CREATE TABLE pg_temp.temp2 (i int)'], 'temporary-objects', 'DISCARD TEMP'],
  ['a temporary view', ['CREATE TEMPORARY VIEW temp3 AS SELECT 1'], 'temporary-objects', 'DISCARD ALL'],
  ['a temporary sequence', ['CREATE TEMPORARY SEQUENCE temp4'], 'temporary-objects', 'DISCARD ALL'],
  ['a search_path with pg_temp', ['SET search_path = pg_temp, public'], 'temporary-objects', 'DISCARD ALL'],
  ['an advisory lock', ['SELECT pg_advisory_lock(1)'], 'advisory-lock', 'SELECT pg_advisory_unlock(1)'],
  [
    'a schema-qualified advisory lock',
    ['SELECT pg_catalog.pg_advisory_lock(2)'],
    'advisory-lock',
    'SELECT pg_advisory_unlock_all()',
  ],
  ['a cursor WITH HOLD', ['BEGIN', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'COMMIT'], 'held-cursor', 'CLOSE c'],
  ['setseed', ['SELECT setseed(0.5)'], 'session-state', 'DISCARD ALL'],
  ['LOAD', ["LOAD '$libdir/plugins/nosuch'"], '', null],
  ['CREATE EXTENSION', ['CREATE EXTENSION IF NOT EXISTS plpgsql'], 'session-state', 'DISCARD ALL'],
];
