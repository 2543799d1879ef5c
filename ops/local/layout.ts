import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { LeaseholdError } from '../../common/errors.ts';
import { isReachable, type OsUser } from '../setup/os-user.ts';
import { pickPort } from './ports.ts';
import { isAlive, markOf, type ProcessMark } from './process-table.ts';

/** Where a local cluster keeps what, below its folder (`.leasehold`). */
export interface Layout {
  readonly dir: string;
  readonly nodesDir: string;
  readonly etcdDir: string;
  readonly configDir: string;
  readonly logDir: string;
}

const secretsSchema = z.object({ replication: z.string(), service: z.string(), apiToken: z.string() });
export type Secrets = z.output<typeof secretsSchema>;

const portsSchema = z.object({
  etcdClient: z.number(),
  etcdPeer: z.number(),
  nodes: z.record(z.string(), z.object({ postgres: z.number(), api: z.number() })),
});
export type Ports = z.output<typeof portsSchema>;

const runSchema = z.object({ up: markSchema(), children: z.array(markSchema()) });

/**
 * Makes the folders. When PostgreSQL has a user of its own that cannot reach the folder (a root's 0700 home), the
 * nodes' data go to `/var/lib/leasehold` and a link stands here; `report` says so.
 */
export function openLayout(dir: string, osUser: OsUser | null, report: (line: string) => void): Layout {
  const layout = {
    dir,
    nodesDir: join(dir, 'nodes'),
    etcdDir: join(dir, 'etcd'),
    configDir: join(dir, 'config'),
    logDir: join(dir, 'log'),
  };
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  for (const folder of [layout.etcdDir, layout.configDir, layout.logDir])
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (existsSync(layout.nodesDir)) return { ...layout, nodesDir: realpathSync(layout.nodesDir) };
  if (osUser === null || isReachable(layout.nodesDir, osUser)) {
    mkdirSync(layout.nodesDir, { mode: 0o755 });
    return layout;
  }
  const name = basename(dir).replace(/^\./, '') || 'cluster';
  const elsewhere = join('/var/lib/leasehold', `${name}-${randomBytes(4).toString('hex')}`);
  mkdirSync(elsewhere, { recursive: true, mode: 0o755 });
  rmSync(layout.nodesDir, { force: true }); // a link whose target is gone
  symlinkSync(elsewhere, layout.nodesDir);
  report(`the user ${osUser.name} cannot reach ${dir}: PostgreSQL's data are in ${elsewhere}, linked from there`);
  return { ...layout, nodesDir: elsewhere };
}

/** Takes the folder for this process. Throws `ALREADY_RUNNING` when another `up` holds it; returns what a dead one left running. */
export function takeFolder(layout: Layout): readonly ProcessMark[] {
  const file = runFile(layout);
  const left = readJson(file, runSchema);
  if (left !== null && isAlive(left.up)) {
    throw new LeaseholdError(
      'ALREADY_RUNNING',
      `a cluster already runs from ${layout.dir} (process ${left.up.pid}): stop it with Ctrl-C there or "kill ${left.up.pid}", or use another folder with --dir`,
    );
  }
  if (left !== null) rmSync(file, { force: true });
  writeRun(layout, [], left === null ? 'wx' : 'w');
  return (left?.children ?? []).filter(isAlive);
}

/** Notes who runs, for the next `up` should this one be killed. */
export function noteChildren(layout: Layout, pids: readonly number[]): void {
  writeRun(layout, pids.map(markOf), 'w');
}

export function leaveFolder(layout: Layout): void {
  rmSync(runFile(layout), { force: true });
}

/** Made once, for this cluster only, readable by its owner only. */
export function openSecrets(layout: Layout): Secrets {
  const file = secretsFile(layout.dir);
  const known = readJson(file, secretsSchema);
  if (known !== null) return known;
  const make = () => randomBytes(24).toString('base64url');
  const secrets = { replication: make(), service: make(), apiToken: make() };
  writeJson(file, secrets, 0o600);
  return secrets;
}

export function secretsFile(dir: string): string {
  return join(dir, 'secrets.json');
}

/** The token of a local cluster's HTTP API, or null when the folder holds none that this user can read. */
export function readApiToken(dir: string): string | null {
  return readJson(secretsFile(dir), secretsSchema)?.apiToken ?? null;
}

/** Internal ports: those of the last run where they are still free. */
export async function openPorts(layout: Layout, nodes: readonly string[], avoid: readonly number[]): Promise<Ports> {
  const file = join(layout.dir, 'ports.json');
  const known = readJson(file, portsSchema);
  const taken = new Set(avoid);
  const etcdClient = await pickPort(known?.etcdClient, taken);
  const etcdPeer = await pickPort(known?.etcdPeer, taken);
  const picked: Ports['nodes'] = {};
  for (const node of nodes) {
    const before = known?.nodes[node];
    picked[node] = { postgres: await pickPort(before?.postgres, taken), api: await pickPort(before?.api, taken) };
  }
  const ports = { etcdClient, etcdPeer, nodes: picked };
  writeJson(file, ports, 0o644);
  return ports;
}

/** Names of the nodes that have data here, in order. */
export function knownNodes(layout: Layout): string[] {
  return readdirSync(layout.nodesDir)
    .filter((name) => /^node\d+$/.test(name))
    .sort((a, b) => Number(a.slice(4)) - Number(b.slice(4)));
}

/** The PostgreSQL major version that made the data here; null when there are none yet. */
export function dataMajor(layout: Layout): number | null {
  for (const node of knownNodes(layout)) {
    const file = join(layout.nodesDir, node, 'data', 'PG_VERSION');
    if (existsSync(file)) return Number.parseInt(readFileSync(file, 'utf8'), 10);
  }
  return null;
}

function runFile(layout: Layout): string {
  return join(layout.dir, 'run.json');
}

function writeRun(layout: Layout, children: readonly ProcessMark[], flag: 'w' | 'wx'): void {
  writeJson(runFile(layout), { up: markOf(process.pid), children }, 0o644, flag);
}

function markSchema() {
  return z.object({ pid: z.number().int(), startTime: z.string().nullable() });
}

/** Whole or not at all: a reader never sees half a file. */
function writeJson(file: string, value: unknown, mode: number, flag: 'w' | 'wx' = 'w'): void {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (flag === 'wx') {
    writeFileSync(file, text, { mode, flag });
    return;
  }
  const unfinished = `${file}.${process.pid}`;
  writeFileSync(unfinished, text, { mode });
  renameSync(unfinished, file);
}

function readJson<S extends z.ZodType>(file: string, schema: S): z.output<S> | null {
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null;
  }
}
