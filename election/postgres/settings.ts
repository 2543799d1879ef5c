import type { Term } from '../../common/lsn.ts';
import type { ReplicationConfig } from '../../common/config/replication.ts';
import type { PeerAddress } from './port.ts';

/** The agent's own superuser. It logs in over the private Unix socket only, by the operating system's word. */
export const AGENT_ROLE = 'leasehold';

/**
 * A name that no node can have (NAME_PATTERN admits neither capitals nor spaces). A server starts with it as its only
 * synchronous standby, so it acknowledges nothing until the agent has said whose acknowledgement counts.
 */
export const NOBODY = 'Nobody yet';

/** What changes while the server runs; everything else is fixed at its start. */
export interface DynamicSettings {
  /** '' for none. */
  readonly primaryConninfo: string;
  readonly primarySlotName: string;
  readonly synchronousStandbyNames: string;
  /** Grows with every reload: a process that shows it has read these files. */
  readonly generation: number;
}

/**
 * The names of the settings above. They have to be changed by a reload, so they cannot stand on the command line,
 * and ALTER SYSTEM could override them: before a start they are taken out of postgresql.auto.conf, and after each
 * reload their value in force is compared.
 */
export const RELOADED_SETTINGS = ['primary_conninfo', 'primary_slot_name', 'synchronous_standby_names'] as const;

/** Good values that a configuration may change. */
const DEFAULTS: Readonly<Record<string, string>> = {
  max_connections: '200',
  max_wal_senders: '16',
  max_replication_slots: '16',
  wal_keep_size: '1GB',
  max_slot_wal_keep_size: '4GB',
  wal_receiver_status_interval: '1s',
  wal_receiver_timeout: '5s',
  wal_sender_timeout: '5s',
  wal_retrieve_retry_interval: '100ms',
  hot_standby_feedback: 'off',
  max_standby_streaming_delay: '5s',
  synchronous_commit: 'on',
  password_encryption: 'scram-sha-256',
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
  log_line_prefix: '%m [%p] %q%u@%d ',
  lc_messages: 'C',
};

export interface FixedSettings {
  readonly configFile: string;
  readonly hbaFile: string;
  readonly identFile: string;
  readonly socketDir: string;
  readonly host: string;
  readonly port: number;
  readonly walLevel: string;
}

/**
 * What safety needs and no reload ever changes goes on the command line, which beats the files and ALTER SYSTEM.
 * `restart_after_crash` is off because a crash of a backend must be the agent's decision, not the postmaster's.
 */
export function commandLine(dataDir: string, fixed: FixedSettings): string[] {
  const settings: Record<string, string> = {
    config_file: fixed.configFile,
    hba_file: fixed.hbaFile,
    ident_file: fixed.identFile,
    listen_addresses: fixed.host,
    port: String(fixed.port),
    unix_socket_directories: fixed.socketDir,
    unix_socket_permissions: '0700',
    wal_level: fixed.walLevel === 'logical' ? 'logical' : 'replica',
    hot_standby: 'on',
    wal_log_hints: 'on',
    fsync: 'on',
    full_page_writes: 'on',
    restart_after_crash: 'off',
    recovery_target_timeline: 'latest',
    logging_collector: 'off',
    log_destination: 'stderr',
  };
  return ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Settings of the configuration that the agent decides itself and therefore leaves out. */
export function ignoredParameters(parameters: Readonly<Record<string, string>>): string[] {
  const ours = new Set<string>([...RELOADED_SETTINGS, ...fixedNames()]);
  return Object.keys(parameters).filter((name) => ours.has(name.toLowerCase()));
}

function fixedNames(): string[] {
  const none = { configFile: '', hbaFile: '', identFile: '', socketDir: '', host: '', port: 0, walLevel: '' };
  return commandLine('', none)
    .filter((word) => word.includes('='))
    .map((word) => word.slice(0, word.indexOf('=')))
    .filter((name) => name !== 'wal_level');
}

/**
 * The server's postgresql.conf, outside the data directory. It reads initdb's own file first (which pg_rewind and
 * pg_basebackup bring along), then our defaults, the configuration's parameters, and what the agent decides.
 */
export function renderConfig(
  dataDir: string,
  parameters: Readonly<Record<string, string>>,
  dynamic: DynamicSettings,
): string {
  const ignored = new Set(ignoredParameters(parameters));
  const chosen = Object.entries(parameters).filter(([name]) => !ignored.has(name));
  return [
    '# Written by the Leasehold agent; changes are lost. Use agent.postgres.parameters or ALTER SYSTEM.',
    `include_if_exists = ${quoteSetting(`${dataDir}/postgresql.conf`)}`,
    ...[...Object.entries(DEFAULTS), ...chosen].map(([name, value]) => `${name} = ${quoteSetting(value)}`),
    `primary_conninfo = ${quoteSetting(dynamic.primaryConninfo)}`,
    `primary_slot_name = ${quoteSetting(dynamic.primarySlotName)}`,
    `synchronous_standby_names = ${quoteSetting(dynamic.synchronousStandbyNames)}`,
    `leasehold.generation = ${quoteSetting(String(dynamic.generation))}`,
    '',
  ].join('\n');
}

/** https://www.postgresql.org/docs/current/config-setting.html: quotes doubled, backslashes escape. */
export function quoteSetting(value: string): string {
  if (/[\r\n\0]/.test(value)) throw new RangeError('a setting of PostgreSQL cannot hold a line break');
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** `key='value' …` as libpq reads it. */
export function renderConninfo(fields: Readonly<Record<string, string | number>>): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key}='${String(value).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`)
    .join(' ');
}

/** How a follower's WAL receiver reaches its leader. The password is in the passfile, not here. */
export function primaryConninfo(
  peer: PeerAddress,
  node: string,
  replication: ReplicationConfig,
  passFile: string,
): string {
  return renderConninfo({
    ...peerConninfo(peer, replication, passFile),
    application_name: node,
    connect_timeout: 2,
    keepalives_idle: 5,
    keepalives_interval: 2,
    keepalives_count: 2,
    tcp_user_timeout: 5000,
  });
}

/** What every connection to another node begins with: of a WAL receiver, pg_basebackup and pg_rewind. */
export function peerConninfo(peer: PeerAddress, { user, tls }: ReplicationConfig, passFile: string) {
  const authority = tls.caFile === undefined ? {} : { sslrootcert: tls.caFile };
  return { host: peer.host, port: peer.port, user, passfile: passFile, sslmode: tls.mode, ...authority };
}

/** libpq's password file: any server, this user. Colons and backslashes are escaped. */
export function renderPassFile(user: string, password: string): string {
  const escape = (text: string) => text.replaceAll('\\', '\\\\').replaceAll(':', '\\:');
  return `*:*:*:${escape(user)}:${escape(password)}\n`;
}

/** `ANY k ("a", "b")`; k = 0 gives '', alone by the durability record's decision. */
export function renderSynchronous(names: readonly string[], k: number): string {
  if (k === 0) return '';
  const list = (names.length === 0 ? [NOBODY] : names).map((name) => `"${name}"`).join(', ');
  return `ANY ${k} (${list})`;
}

/**
 * By which a node follows the leader of a term: `leasehold_t<term>_<node>`, in the letters that a slot's name may have. It is what
 * tells a leader from the same server in another term, or with other data: PostgreSQL compares numbers of timelines only.
 */
export function slotName(term: Term, node: string): string {
  return `${SLOT_PREFIX}t${term}_${node.replaceAll('-', '_')}`;
}
export const SLOT_PREFIX = 'leasehold_';

export interface HbaOptions {
  readonly replicationUser: string;
  /** Whether these may come in the clear. */
  readonly clear: boolean;
  /** Whether followers, clones and rewinds are admitted: nobody takes anything from a server that does not lead. */
  readonly leads: boolean;
  /** Whether applications are let in. */
  readonly open: boolean;
  /** The configuration's own lines: they may widen or narrow the open part, never the fence. */
  readonly lines: readonly string[];
}

/** pg_hba.conf. The first line that matches decides, so the agent's own come before everything else. */
export function renderHba(options: HbaOptions): string {
  const replication = quoteHba(options.replicationUser);
  const everywhere = ['0.0.0.0/0', '::/0'];
  const method = options.leads ? 'scram-sha-256' : 'reject';
  const admit = (database: string, net: string): string[] => {
    if (options.clear) return [`host ${database} ${replication} ${net} ${method}`];
    return [`hostssl ${database} ${replication} ${net} ${method}`, `host ${database} ${replication} ${net} reject`];
  };
  const fenced = [
    `local all ${AGENT_ROLE} peer map=leasehold`,
    `local replication ${AGENT_ROLE} peer map=leasehold`,
    ...everywhere.map((net) => `host all ${AGENT_ROLE} ${net} reject`),
    // pg_rewind reads files over an ordinary connection.
    ...['replication', 'postgres'].flatMap((database) => everywhere.flatMap((net) => admit(database, net))),
  ];
  const open = [
    ...options.lines,
    'local all all scram-sha-256',
    ...everywhere.map((net) => `host all all ${net} scram-sha-256`),
  ];
  return `# Written by the Leasehold agent; changes are lost.\n${[...fenced, ...(options.open ? open : [])].join('\n')}\n`;
}

function quoteHba(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Who of the operating system may be the agent's role: the agent's own user, and PostgreSQL's. */
export function renderIdent(users: readonly string[]): string {
  return `${[...new Set(users)].map((user) => `leasehold ${quoteHba(user)} ${AGENT_ROLE}`).join('\n')}\n`;
}

/** Takes the lines of the reloaded settings out of a postgresql.auto.conf. */
export function withoutReloadedSettings(autoConf: string): string {
  const names: readonly string[] = RELOADED_SETTINGS;
  return autoConf
    .split('\n')
    .filter((line) => !names.includes(/^\s*([a-z_.]+)/i.exec(line)?.[1]?.toLowerCase() ?? ''))
    .join('\n');
}
