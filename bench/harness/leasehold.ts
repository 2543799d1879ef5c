import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { packageVersion } from '../../ops/paths.ts';
import type { LocalCluster } from '../../test/support/local-cluster.ts';
import { freePorts } from '../../test/support/ports.ts';
import { stopProcess, untilItServes } from './peers/start.ts';

export interface LeaseholdPlan {
  readonly poolSize: number;
  readonly maxClients: number;
  readonly certFile: string;
  readonly keyFile: string;
  /** Another checkout to run; by default this one. */
  readonly root?: string;
  /** For Node, such as `--cpu-prof`. */
  readonly nodeFlags?: readonly string[];
}

/** A proxy of the cluster beside its own, so that it can be measured alone. */
export async function startLeasehold(
  cluster: LocalCluster,
  plan: LeaseholdPlan,
): Promise<{ readonly port: number; readonly pid: number; readonly version: string; stop(): Promise<void> }> {
  const [port, httpPort] = (await freePorts(2)) as [number, number];
  const id = `bench-${port}`;
  const config = parse(readFileSync(join(cluster.dir, 'cluster/config/proxy1.yaml'), 'utf8')) as Record<string, object>;
  const { poolSize, maxClients, certFile, keyFile } = plan;
  const proxy = {
    id,
    listen: { port },
    http: { port: httpPort },
    maxClients,
    pool: { size: poolSize, maxWaiting: maxClients },
    tls: { certFile, keyFile },
  };
  const file = join(cluster.dir, `${id}.yaml`);
  writeFileSync(file, stringify({ ...config, drills: {}, proxy }), { mode: 0o600 });
  const root = plan.root ?? resolve(import.meta.dirname, '../..');
  const args = [...(plan.nodeFlags ?? []), join(root, 'ops/cli.ts'), 'proxy', '--config', file];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], cwd: cluster.dir });
  const stop = (): Promise<void> => stopProcess(child);
  try {
    await untilItServes(port, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, pid: child.pid as number, version: packageVersion(), stop };
}
