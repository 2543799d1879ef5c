import { type Column, ints, textOf, texts } from './columns.ts';
import { DRILL_SYNTAX, DRILLS } from './console-drills.ts';
import { CONFIG, LISTS, MEM, STATE, USERS } from './tables-config.ts';
import { CLIENTS, DATABASES, NODE_POOLS, POOLS, SERVERS, SOCKETS } from './tables-pools.ts';
import { ROUTES, STATEMENTS, STATS, STATS_AVERAGES, STATS_TOTALS, TOTALS } from './tables-stats.ts';
import { SHADOW } from './tables-shadow.ts';
import { buildStatus } from './status.ts';
import type { AdminProviders } from './types.ts';
import { VERSION } from './version.ts';

/** What a console command answers with: rows of text, or only a tag. */
export interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly (string | null)[])[];
}

/** One `SHOW` command: PgBouncer's columns with its names and units where there are such, then our own. */
export interface ShowCommand {
  readonly help: string;
  readonly columns: readonly Column[];
  readonly rows: (providers: AdminProviders) => Rows;
}

/** One whose rows have to be asked for elsewhere. */
export interface LateShowCommand extends Omit<ShowCommand, 'rows'> {
  readonly rows: (providers: AdminProviders) => Promise<Rows>;
}

type Rows = readonly Readonly<Record<string, unknown>>[];

const NODES: ShowCommand = {
  help: 'servers: role, state, lag, freshness, and statements served through this proxy',
  columns: [
    ...texts('node', 'address', 'role', 'state', 'usable'),
    ...ints('timeline'),
    ...texts('replayed_lsn'),
    ...ints('lag_bytes', 'freshness_ms', 'as_leader', 'as_follower'),
    ...texts('note'),
  ],
  rows: (providers) =>
    buildStatus(providers.status()).nodes.map((node) => ({
      ...node,
      replayed_lsn: node.replayedLsn,
      lag_bytes: node.lagBytes,
      freshness_ms: node.freshnessMs,
      as_leader: providers.served(node.node).leader,
      as_follower: providers.served(node.node).follower,
    })),
};

const LEASE: ShowCommand = {
  help: 'who leads, in which term, and whether writes go through',
  columns: [
    ...ints('term'),
    ...texts('leader', 'address', 'writable', 'hold'),
    ...ints('seq', 'held_writes', 'held_for_ms', 'in_flight', 'etcd_answered_ms'),
    ...texts('failover'),
  ],
  rows: (providers) => {
    const report = buildStatus(providers.status());
    return [
      {
        term: report.term,
        leader: report.leader?.node,
        address: report.leader?.address,
        writable: report.writable,
        hold: report.route?.hold,
        seq: report.route?.seq,
        held_writes: report.self.heldWrites,
        held_for_ms: report.self.heldForMs,
        in_flight: report.self.inFlight,
        etcd_answered_ms: report.etcdAnsweredMs,
        failover: report.pause === null ? 'automatic' : 'paused',
      },
    ];
  },
};

const BALANCE: ShowCommand = {
  help: 'how this proxy spreads reads over the nodes: weight, latency, work, and who is set aside',
  columns: [
    ...texts('node', 'weight', 'own_zone'),
    ...ints('sv_active', 'cl_waiting'),
    ...texts('latency_ms'),
    ...ints('set_aside_ms'),
  ],
  rows: (providers) => providers.balance().map((row) => ({ ...row })),
};

const PROXIES: ShowCommand = {
  help: 'proxies of the cluster, this one among them',
  columns: [...texts('proxy', 'address', 'http', 'draining'), ...ints('held_writes', 'in_flight')],
  rows: (providers) =>
    buildStatus(providers.status()).proxies.map((proxy) => ({
      ...proxy,
      proxy: proxy.id,
      http: proxy.httpUrl,
      held_writes: proxy.heldWrites,
      in_flight: proxy.inFlight,
    })),
};

const SHOW = new Map<string, ShowCommand | LateShowCommand>([
  ['POOLS', POOLS],
  ['NODE_POOLS', NODE_POOLS],
  ['CLIENTS', CLIENTS],
  ['SERVERS', SERVERS],
  ['SOCKETS', SOCKETS],
  ['DATABASES', DATABASES],
  ['USERS', USERS],
  ['LISTS', LISTS],
  ['STATS', STATS],
  ['STATS_TOTALS', STATS_TOTALS],
  ['STATS_AVERAGES', STATS_AVERAGES],
  ['TOTALS', TOTALS],
  ['STATEMENTS', STATEMENTS],
  ['ROUTES', ROUTES],
  ['NODES', NODES],
  ['BALANCE', BALANCE],
  ['LEASE', LEASE],
  ['SHADOW', SHADOW],
  ['PROXIES', PROXIES],
  ['DRILLS', DRILLS],
  ['CONFIG', CONFIG],
  ['STATE', STATE],
  ['MEM', MEM],
  ['VERSION', { help: 'this program', columns: texts('version'), rows: () => [{ version: `Leasehold ${VERSION}` }] }],
]);

const COMMANDS: readonly (readonly [string, string])[] = [
  ['PAUSE [database]', 'gives out no server connection any more; done when the last one has come back and is closed'],
  ['RESUME [database]', 'ends PAUSE or KILL'],
  ['RECONNECT [database]', 'replaces each server connection when it comes free'],
  ['WAIT_CLOSE [database]', 'waits until RECONNECT has replaced the last one'],
  ['KILL database', 'ends its clients and server connections at once; new ones wait until RESUME'],
  ['KILL_CLIENT id', 'ends one client; id as in SHOW CLIENTS'],
  ['DISABLE database', 'lets no new client into the database'],
  ['ENABLE database', 'ends DISABLE'],
  ['RELOAD', 'reads the configuration again, as SIGHUP does'],
  ['SET setting = value', 'changes a setting of SHOW CONFIG until the next reload'],
  [DRILL_SYNTAX, 'breaks something on purpose and tells what an application saw; a cancel aborts it'],
  ['ABORT DRILL', 'ends the drill that runs, on whichever proxy'],
  [
    'SHUTDOWN [WAIT_FOR_CLIENTS | IMMEDIATE]',
    'as SIGTERM: sessions end between transactions; or when all have left; or now',
  ],
];

SHOW.set('HELP', {
  help: 'this list',
  columns: texts('command', 'does'),
  rows: () => [
    ...[...SHOW].map(([name, { help }]) => ({ command: `SHOW ${name}`, does: help })),
    ...COMMANDS.map(([command, does]) => ({ command, does })),
  ],
});

export const SHOW_NAMES: readonly string[] = [...SHOW.keys()];

/** The columns of `SHOW name`; null where there is no such command. Names in any case. */
export function showColumns(name: string): readonly Column[] | null {
  return SHOW.get(name.toUpperCase())?.columns ?? null;
}

/** More rows than a person or an exporter reads. */
const MAX_ROWS = 10_000;

/** Null: there is no such command. */
export async function show(name: string, providers: AdminProviders): Promise<Table | null> {
  const command = SHOW.get(name.toUpperCase());
  if (command === undefined) return null;
  const rows = (await command.rows(providers))
    .slice(0, MAX_ROWS)
    .map((row) => command.columns.map(({ name: column, kind }) => textOf(row[column], kind)));
  return { columns: command.columns, rows };
}
