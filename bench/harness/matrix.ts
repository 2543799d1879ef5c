/** The programs that are compared, and the three ways to use Leasehold. */
export type SideName =
  | 'direct'
  | 'pgbouncer'
  | 'odyssey'
  | 'haproxy'
  | 'pgpool'
  | 'leasehold' // every read on the leader: what a pooler does
  | 'leasehold-eventual' // reads on the followers
  | 'leasehold-session'; // the same, and each client sees its own writes: the default

export type Workload = 'read' | 'tpcb' | 'mix' | 'big' | 'copy' | 'idle';
export type Protocol = 'simple' | 'extended' | 'prepared';

/** One line of the table: the same work through each side. */
export interface Cell {
  /** `read-simple-64`, with `-tls` and `-new` where that is so: what `--only` picks. */
  readonly id: string;
  readonly workload: Workload;
  readonly protocol: Protocol;
  readonly clients: number;
  readonly tls: boolean;
  /** Each transaction on a connection of its own. */
  readonly newConnections: boolean;
  readonly sides: readonly SideName[];
  /** Part of `--quick`. */
  readonly quick: boolean;
}

const PROTOCOLS: readonly Protocol[] = ['simple', 'extended', 'prepared'];
const POOLERS: readonly SideName[] = ['direct', 'pgbouncer', 'odyssey', 'leasehold'];
const SPLITS: readonly SideName[] = ['pgpool', 'pgbouncer', 'leasehold-eventual', 'leasehold-session'];
/** More than this the PostgreSQL of the run does not take without a pooler (`max_connections`); nor does it take TLS. */
const MOST_DIRECT = 128;
const MANY = 10_000;

/** The whole matrix, in the order of the report. */
export function allCells(): readonly Cell[] {
  const cells: Cell[] = [];
  for (const protocol of PROTOCOLS) {
    for (const clients of [1, 16, 64, 256, 1000]) {
      const quick = clients === 64 || (protocol === 'simple' && (clients === 1 || clients === 1000));
      cells.push(cellOf({ protocol, clients, quick, sides: POOLERS }));
      cells.push(cellOf({ protocol, clients, tls: true, sides: POOLERS }));
    }
  }
  for (const tls of [false, true]) {
    cells.push(cellOf({ clients: 16, newConnections: true, tls, sides: POOLERS, quick: true }));
  }
  cells.push(cellOf({ workload: 'tpcb', clients: 32, sides: POOLERS, quick: true }));
  cells.push(cellOf({ workload: 'tpcb', clients: 32, protocol: 'prepared', sides: POOLERS }));
  cells.push(cellOf({ workload: 'mix', clients: 64, sides: SPLITS, quick: true }));
  cells.push(cellOf({ workload: 'mix', clients: 16, protocol: 'prepared', sides: SPLITS }));
  cells.push(cellOf({ workload: 'read', clients: 64, sides: SPLITS, suffix: 'split' }));
  cells.push(
    cellOf({ workload: 'big', clients: 4, sides: ['direct', 'haproxy', 'pgbouncer', 'leasehold'], quick: true }),
  );
  cells.push(
    cellOf({ workload: 'copy', clients: 1, sides: ['direct', 'haproxy', 'pgbouncer', 'leasehold'], quick: true }),
  );
  cells.push(cellOf({ workload: 'idle', clients: MANY, sides: ['pgbouncer', 'odyssey', 'leasehold'], quick: true }));
  return cells;
}

/**
 * Those to be run. `only`: texts with commas between, each a part of the ids wanted. Throws RangeError for one that is
 * in no id.
 */
export function chooseCells(cells: readonly Cell[], quick: boolean, only: string | null): readonly Cell[] {
  const within = quick && only === null ? cells.filter((cell) => cell.quick).map(shortened) : cells;
  if (only === null) return within;
  const wanted = only.split(',').map((text) => text.trim());
  const unknown = wanted.filter((text) => !within.some(({ id }) => matches(id, text)));
  if (unknown.length > 0) {
    throw new RangeError(
      `no cell has ${unknown.join(', ')} in its name; there are ${within.map(({ id }) => id).join(' ')}`,
    );
  }
  return within.filter(({ id }) => wanted.some((text) => matches(id, text)));
}

/** The sides that the goals are about, and no direct connection where it is not asked for. */
function shortened(cell: Cell): Cell {
  const bare = cell.newConnections || cell.workload === 'big' || cell.workload === 'copy';
  const sides = cell.sides.filter((side) => side !== 'odyssey' && !(side === 'direct' && bare));
  return { ...cell, sides };
}

/** `=read-simple-64` is that cell alone. */
function matches(id: string, text: string): boolean {
  return text.startsWith('=') ? id === text.slice(1) : id.includes(text);
}

function cellOf(given: Partial<Cell> & { readonly sides: readonly SideName[]; readonly suffix?: string }): Cell {
  const { workload = 'read', protocol = 'simple', clients = 1, tls = false, newConnections = false } = given;
  const parts: (string | number)[] = [workload];
  if (workload === 'read' || workload === 'tpcb' || workload === 'mix') parts.push(protocol);
  parts.push(clients);
  if (tls) parts.push('tls');
  if (newConnections) parts.push('new');
  if (given.suffix !== undefined) parts.push(given.suffix);
  const sides = given.sides.filter((side) => side !== 'direct' || (clients <= MOST_DIRECT && !tls));
  return { id: parts.join('-'), workload, protocol, clients, tls, newConnections, sides, quick: given.quick ?? false };
}
