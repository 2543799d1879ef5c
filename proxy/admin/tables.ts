import type { ShadowRow } from '../session/shadow.ts';
import { buildStatus } from './status.ts';
import type { AdminProviders, NodeRole } from './types.ts';
import { VERSION } from './version.ts';

/** What a console command answers with: rows of text, or only a tag. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
}

/** Statements that a node served so far (`MetricsRegistry.served`). */
export type Served = (node: string) => Readonly<Record<NodeRole, number>>;

interface ShowCommand {
  readonly help: string;
  readonly columns: readonly string[];
  readonly rows: (providers: AdminProviders, served: Served) => readonly Readonly<Record<string, unknown>>[];
}

const SHOW = new Map<string, ShowCommand>([
  [
    'POOLS',
    {
      help: 'connections of each user, database and node, and who waits for one',
      columns: [
        'database',
        'user',
        'node',
        'role',
        'cl_active',
        'cl_waiting',
        'sv_active',
        'sv_idle',
        'sv_login',
        'sv_pinned',
        'maxwait_ms',
        'pool_size',
        'min_pool_size',
        'reserve_pool',
        'sv_closing',
        'paused',
        'pool_mode',
      ],
      rows: (providers) => providers.pools().map((pool) => ({ ...pool, pool_mode: 'transaction' })),
    },
  ],
  [
    'CLIENTS',
    {
      help: 'client connections: what each does, where, and what pins it there',
      columns: [
        'id',
        'user',
        'database',
        'state',
        'addr',
        'port',
        'application_name',
        'connect_time',
        'request_time',
        'wait_ms',
        'node',
        'pins',
        'prepared_statements',
        'tls',
      ],
      rows: (providers) => providers.clients().map((client) => ({ ...client, pins: client.pins.join(',') })),
    },
  ],
  [
    'NODES',
    {
      help: 'servers: role, state, lag, freshness, and statements served through this proxy',
      columns: [
        'node',
        'address',
        'role',
        'state',
        'usable',
        'timeline',
        'replayed_lsn',
        'lag_bytes',
        'freshness_ms',
        'as_leader',
        'as_follower',
        'note',
      ],
      rows: nodeRows,
    },
  ],
  [
    'BALANCE',
    {
      help: 'how this proxy spreads reads over the nodes: weight, latency, work, and who is set aside',
      columns: ['node', 'weight', 'own_zone', 'sv_active', 'cl_waiting', 'latency_ms', 'set_aside_ms'],
      rows: (providers) => providers.balance().map((row) => ({ ...row })),
    },
  ],
  [
    'LEASE',
    {
      help: 'who leads, in which term, and whether writes go through',
      columns: [
        'term',
        'leader',
        'address',
        'writable',
        'hold',
        'seq',
        'held_writes',
        'held_for_ms',
        'in_flight',
        'etcd_answered_ms',
      ],
      rows: leaseRows,
    },
  ],
  [
    'SHADOW',
    {
      help: 'shadow mode: what reads would have gone to followers, waited, or been stale with a naive split',
      columns: [
        'database',
        'user',
        'reads',
        'follower_at_once',
        'follower_after_wait',
        'leader',
        'no_follower',
        'wait_avg_ms',
        'wait_max_ms',
        'naive_stale',
        'stale_avg_ms',
        'stale_max_ms',
        'unmeasured',
      ],
      rows: (providers) => providers.shadow().map((row) => ({ ...row, ...averages(row) })),
    },
  ],
  ['VERSION', { help: 'this program', columns: ['version'], rows: () => [{ version: `Leasehold ${VERSION}` }] }],
]);
SHOW.set('HELP', {
  help: 'this list',
  columns: ['command', 'shows'],
  rows: () => [...SHOW].map(([name, { help }]) => ({ command: `SHOW ${name}`, shows: help })),
});

export const SHOW_NAMES: readonly string[] = [...SHOW.keys()];

/** The columns of `SHOW name`; null where there is no such command. Names in any case. */
export function showColumns(name: string): readonly string[] | null {
  return SHOW.get(name.toUpperCase())?.columns ?? null;
}

export function show(name: string, providers: AdminProviders, served: Served): Table | null {
  const command = SHOW.get(name.toUpperCase());
  if (command === undefined) return null;
  const rows = command.rows(providers, served).map((row) => command.columns.map((column) => textOf(row[column])));
  return { columns: command.columns, rows };
}

function averages(row: ShadowRow): Record<string, number | null> {
  const { follower_after_wait: waited, naive_stale: stale } = row;
  return {
    wait_avg_ms: waited === 0 ? null : row.wait_total_ms / waited,
    stale_avg_ms: stale === 0 ? null : row.stale_total_ms / stale,
  };
}

function nodeRows(providers: AdminProviders, served: Served): Record<string, unknown>[] {
  return buildStatus(providers.status()).nodes.map((node) => ({
    ...node,
    replayed_lsn: node.replayedLsn,
    lag_bytes: node.lagBytes,
    freshness_ms: node.freshnessMs,
    as_leader: served(node.node).leader,
    as_follower: served(node.node).follower,
  }));
}

function leaseRows(providers: AdminProviders): Record<string, unknown>[] {
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
    },
  ];
}

/** As PostgreSQL prints it: booleans `t` and `f`, numbers without noise behind the point. */
function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'number') return String(Math.round(value * 10) / 10);
  return String(value as string | bigint);
}
