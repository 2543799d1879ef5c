import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Layout, Ports, Secrets } from './layout.ts';

export interface LocalClusterPlan {
  readonly nodes: readonly string[];
  readonly proxies: readonly { readonly id: string; readonly port: number; readonly httpPort: number }[];
  readonly ports: Ports;
  readonly secrets: Secrets;
  readonly postgresBin: string;
}

/** Lease time with the tuned etcd of a local cluster (ELECTION.md, "Timings"). */
const LOCAL_TTL_MS = 3000;

/** One ordinary configuration file for each process, the same that `leasehold agent --config` reads anywhere. */
export function writeConfigFiles(layout: Layout, plan: LocalClusterPlan): Map<string, string> {
  const files = new Map<string, string>();
  const cluster = {
    name: 'main',
    etcd: [`http://127.0.0.1:${plan.ports.etcdClient}`],
    ttlMs: LOCAL_TTL_MS,
    apiToken: plan.secrets.apiToken,
  };
  const service = { password: plan.secrets.service };
  const put = (name: string, value: object) => {
    const file = join(layout.configDir, `${name}.yaml`);
    writeFileSync(file, `# Written by "leasehold up" at each start.\n${stringify(value)}`, { mode: 0o600 });
    files.set(name, file);
  };
  for (const node of plan.nodes) {
    mkdirSync(join(layout.nodesDir, node), { recursive: true, mode: 0o755 });
    put(node, { cluster, service, agent: agentPart(node, layout, plan) });
  }
  for (const { id, port, httpPort } of plan.proxies) {
    const proxy = { id, listen: { port }, http: { port: httpPort }, consoleUsers: ['app', 'postgres'] };
    put(id, { cluster, service, proxy, drills: { dsn: `postgres://app:app@127.0.0.1:${port}/app` } });
  }
  return files;
}

function agentPart(node: string, layout: Layout, plan: LocalClusterPlan): object {
  const ports = plan.ports.nodes[node];
  return {
    node,
    dataDir: join(layout.nodesDir, node, 'data'),
    listen: { port: ports?.postgres },
    api: { port: ports?.api },
    postgres: {
      binDir: plan.postgresBin,
      // Several servers share a small machine here; what safety needs is not touched.
      parameters: { shared_buffers: '64MB', max_wal_size: '512MB' },
    },
    replication: { password: plan.secrets.replication },
    bootstrap: {
      superuserPassword: 'postgres',
      roles: [{ name: 'app', password: 'app' }],
      databases: [{ name: 'app', owner: 'app' }],
    },
  };
}

/** etcd of a local cluster: one member, tuned to elect itself fast. */
export function etcdArguments(layout: Layout, ports: Ports): string[] {
  const client = `http://127.0.0.1:${ports.etcdClient}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    '--name=local',
    `--data-dir=${layout.etcdDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=local=${peer}`,
    '--heartbeat-interval=50',
    '--election-timeout=500',
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=10m',
    '--log-level=warn',
    '--logger=zap',
  ];
}
