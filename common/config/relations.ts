import type { DrillsConfig } from './drills.ts';
import { listenHosts } from './listen-hosts.ts';
import { encryptsAlways } from './replication.ts';
import type { AgentConfig, ClusterConfig, LeaseholdConfig, ProxyConfig } from './schema.ts';

/** The processes that read the configuration. */
export type ConfigPart = 'agent' | 'proxy';

export interface RelationFault {
  readonly path: string;
  readonly message: string;
  /** The fault is that nothing was given. */
  readonly missing?: true;
}

/** What no single field can say: relations between fields, and the parts that a process cannot do without. */
export function checkRelations(config: LeaseholdConfig, needs: readonly ConfigPart[]): RelationFault[] {
  const faults: RelationFault[] = [];
  const { cluster } = config;
  if (cluster.marginMs >= cluster.ttlMs / 2) {
    faults.push({ path: 'cluster.marginMs', message: `must be below half of cluster.ttlMs (${cluster.ttlMs})` });
  }
  faults.push(...etcdRelations(cluster));
  if (needs.includes('agent') && config.agent === undefined) {
    faults.push({
      path: 'agent',
      message: 'is required to run an agent: node, dataDir, listen.port, replication',
      missing: true,
    });
  }
  if (needs.length > 0 && config.service === undefined) {
    faults.push({
      path: 'service.password',
      message: 'is required: the password of the role that proxies read with',
      missing: true,
    });
  }
  if (config.agent !== undefined) faults.push(...agentRelations(config.agent, needs));
  if (needs.includes('proxy')) faults.push(...proxyRelations(config.proxy), ...drillRelations(config.drills));
  return faults;
}

function etcdRelations({ etcd, etcdTls }: ClusterConfig): RelationFault[] {
  if (etcdTls === undefined) return [];
  const faults: RelationFault[] = [];
  const plain = etcd.filter((endpoint) => !endpoint.startsWith('https:'));
  if (plain.length > 0) {
    const message = `must be https where cluster.etcdTls is given, and these are not: ${plain.join(', ')}`;
    faults.push({ path: 'cluster.etcd', message });
  }
  if ((etcdTls.certFile === undefined) !== (etcdTls.keyFile === undefined)) {
    const missing = etcdTls.certFile === undefined ? 'certFile' : 'keyFile';
    const given = missing === 'certFile' ? 'keyFile' : 'certFile';
    faults.push({ path: `cluster.etcdTls.${missing}`, message: `is required with ${given}`, missing: true });
  }
  return faults;
}

function drillRelations({ schedule, dsn, maxSeconds }: DrillsConfig): RelationFault[] {
  const faults: RelationFault[] = [];
  if (schedule.length > 0 && dsn === undefined) {
    const message = 'is required by drills.schedule: nobody gives a connection string with a scheduled drill';
    faults.push({ path: 'drills.dsn', message, missing: true });
  }
  if (dsn !== undefined && !/^postgres(ql)?:\/\/[^/]/.test(dsn)) {
    faults.push({ path: 'drills.dsn', message: 'must be a URL such as postgres://user:password@host:6432/database' });
  }
  for (const [index, { seconds }] of schedule.entries()) {
    if (seconds === undefined || seconds <= maxSeconds) continue;
    faults.push({
      path: `drills.schedule.${index}.seconds`,
      message: `must not exceed drills.maxSeconds (${maxSeconds})`,
    });
  }
  return faults;
}

/** Any node may lead, so each must offer what all of them ask for. */
function replicationRelations({ replication, postgres }: AgentConfig): RelationFault[] {
  const faults: RelationFault[] = [];
  const { mode, caFile } = replication.tls;
  if (mode.startsWith('verify') && caFile === undefined) {
    faults.push({ path: 'agent.replication.tls.caFile', message: `is required by mode ${mode}`, missing: true });
  }
  if (encryptsAlways(replication) && !/^(on|true|yes|1)$/i.test(postgres.parameters['ssl'] ?? '')) {
    const message = `must be on, with ssl_cert_file and ssl_key_file, where agent.replication.tls.mode is ${mode}`;
    faults.push({ path: 'agent.postgres.parameters.ssl', message });
  }
  return faults;
}

function agentRelations(agent: AgentConfig, needs: readonly ConfigPart[]): RelationFault[] {
  const faults: RelationFault[] = [];
  if (agent.api.port !== 0 && agent.api.port === agent.listen.port) {
    faults.push({ path: 'agent.api.port', message: 'is the same as agent.listen.port' });
  }
  if (needs.includes('agent') && isAnyAddress(agent.listen.host) && agent.advertise === undefined) {
    faults.push({
      path: 'agent.advertise',
      message: `is required when agent.listen.host is ${agent.listen.host}`,
      missing: true,
    });
  }
  if (needs.includes('agent')) faults.push(...replicationRelations(agent));
  const owners = new Set(['postgres', ...agent.bootstrap.roles.map((role) => role.name)]);
  for (const [index, database] of agent.bootstrap.databases.entries()) {
    if (owners.has(database.owner)) continue;
    const path = `agent.bootstrap.databases.${index}.owner`;
    faults.push({ path, message: `the role ${database.owner} is not in agent.bootstrap.roles` });
  }
  return faults;
}

function proxyRelations(proxy: ProxyConfig): RelationFault[] {
  const faults: RelationFault[] = [];
  const hosts = listenHosts(proxy.listen.host);
  if (hosts.length === 0) faults.push({ path: 'proxy.listen.host', message: 'names no address' });
  if (proxy.listen.port !== 0 && proxy.listen.port === proxy.http.port && hosts.includes(proxy.http.host)) {
    faults.push({ path: 'proxy.http.port', message: 'is the same as proxy.listen.port' });
  }
  faults.push(...poolRelations(proxy));
  if (hosts.some(isAnyAddress) && proxy.advertise === undefined) {
    faults.push({
      path: 'proxy.advertise',
      message: `is required when proxy.listen.host is ${proxy.listen.host}`,
      missing: true,
    });
  }
  for (const name of ['hba', 'ident'] as const) {
    if (proxy.auth[name] === undefined || proxy.auth[`${name}File`] === undefined) continue;
    faults.push({ path: `proxy.auth.${name}`, message: `is given by proxy.auth.${name}File too; keep one` });
  }
  const { mode, caFile, certFile, keyFile } = proxy.serverTls;
  if ((mode === 'verify-full' || mode === 'verify-ca') && caFile === undefined) {
    faults.push({
      path: 'proxy.serverTls.caFile',
      message: `is required when proxy.serverTls.mode is ${mode}: a file, or system`,
      missing: true,
    });
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const absent = certFile === undefined ? 'certFile' : 'keyFile';
    faults.push({ path: `proxy.serverTls.${absent}`, message: 'is required with the other one', missing: true });
  }
  if (proxy.routing.causalWaitMs > proxy.hold.deadlineMs) {
    faults.push({ path: 'proxy.routing.causalWaitMs', message: 'must not exceed proxy.hold.deadlineMs' });
  }
  return faults;
}

/** A pool that may never be as large as it is said to be is a mistake, better told now than as 53300 one day. */
function poolRelations({ pool, databases, users }: ProxyConfig): RelationFault[] {
  const most = Math.min(pool.maxConnectionsPerNode, pool.maxConnections);
  const limit = `(${pool.maxConnectionsPerNode}) or proxy.pool.maxConnections (${pool.maxConnections})`;
  const sizes: [path: string, size: number][] = [['proxy.pool.size', pool.size]];
  for (const [kind, scopes] of Object.entries({ databases, users })) {
    for (const [name, { poolSize }] of Object.entries(scopes))
      sizes.push([`proxy.${kind}.${name}.poolSize`, poolSize ?? 0]);
  }
  return sizes
    .filter(([, size]) => size > most)
    .map(([path]) => ({ path, message: `must not exceed proxy.pool.maxConnectionsPerNode ${limit}` }));
}

function isAnyAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
