import type { PoolLimits } from '../../common/config/pool-limits.ts';
import { ClientError } from '../../common/errors.ts';
import type { BackendPlace } from './place.ts';
import type { Room } from './room.ts';

/** No connection for a client, for a reason of the proxy's and not of a server: another node would not help. */
export class PoolFullError extends ClientError {}

/** What of a pool tells why a client is refused. */
interface FullPool {
  readonly options: { readonly place: BackendPlace; readonly user: string; readonly database: string };
  readonly limits: PoolLimits;
  readonly paused: boolean;
  /** Connections that are open, being opened and on their way out. */
  readonly size: number;
  readonly stock: { readonly idle: number };
  readonly queue: { readonly size: number };
}

const WHO = 'SHOW POOLS and SHOW CLIENTS tell who keeps connections, most often in transactions left open.';

/** `what`: that too many wait, or that it took too long. Names the limit that is reached, its setting, and who holds what. */
export function poolFull(pool: FullPool, room: Room, what: string): PoolFullError {
  const { limits, paused, size: all, queue, stock } = pool;
  const { place, user, database } = pool.options;
  const waiting = queue.size;
  const message = `no server connection for user "${user}" to database "${database}" on ${place.node}: ${what}`;
  const wait = waiting === 1 ? '1 client waits' : `${waiting} clients wait`;
  if (paused) {
    return new PoolFullError({
      sqlState: '57P03',
      message,
      detail: `The database is paused by an operator; ${wait}.`,
      hint: 'RESUME on the console lets it go on.',
      safeToRetry: true,
    });
  }
  const shared = all < limits.size ? room.explain({ node: place.node, database, user }) : null;
  if (shared !== null) {
    return new PoolFullError({
      sqlState: '53300',
      message,
      detail: `The limit of ${shared.limit} connections (${shared.setting}) is reached: ${shared.holders}. ${wait} here.`,
      hint: `Raise ${shared.setting}, but not above what the servers take. ${WHO}`,
      safeToRetry: true,
    });
  }
  return new PoolFullError({
    sqlState: '53300',
    message,
    detail: `The pool has ${all} of ${limits.size} connections (${limits.sizeFrom}), ${all - stock.idle} in use; ${wait}.`,
    hint: `Raise ${limits.sizeFrom}. ${WHO}`,
    safeToRetry: true,
  });
}
