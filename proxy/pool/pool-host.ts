import type { Clock } from '../../common/clock.ts';
import type { PoolLimits } from '../../common/config/pool-limits.ts';
import type { Logger } from '../../common/logger.ts';
import type { BackendLogin, BackendTarget, Credentials } from '../auth/types.ts';
import type { NodeLoad } from '../routing/node-load.ts';
import type { BackendPlace } from './place.ts';
import type { Room } from './room.ts';

export type Login = (
  target: BackendTarget,
  options: { readonly signal: AbortSignal; readonly connectTimeoutMs: number },
) => Promise<BackendLogin>;

/** What all pools share. */
export interface PoolHost {
  readonly room: Room;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly login: Login;
  /** For connections from now on; a reload replaces it. */
  readonly tls: BackendTarget['tls'];
  /** Uniform in [0, 1). */
  random(): number;
  loadOf(node: string): NodeLoad;
  /** A client waits: `Pool.tick` is to be called from time to time. */
  onWaiting(): void;
  /** A connection is gone, or could not be opened. */
  onGone(): void;
}

export interface PoolOptions {
  readonly place: BackendPlace;
  readonly user: string;
  readonly database: string;
  readonly credentials: Credentials;
  readonly limits: PoolLimits;
}
