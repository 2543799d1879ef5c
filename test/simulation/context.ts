import type { ClusterView } from '../../election/core/cluster-view.ts';
import type { StoreSnapshot } from '../../election/store/port.ts';
import type { Network } from './network.ts';
import type { SimPostgres } from './postgres.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import type { WalEntry } from './wal.ts';

/** What every modelled part shares. */
export interface SimContext {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly network: Network;
  readonly trace: Trace;
  postgres(node: string): SimPostgres;
  /** The snapshot decoded; once for all nodes. */
  view(snapshot: StoreSnapshot): ClusterView;
  /** I11: what a node had is about to be replaced by `source`'s, and is not kept. */
  erases(node: string, entries: readonly WalEntry[], source: SimPostgres): void;
  /** An invariant is broken. Throws. */
  violation(invariant: string, what: string): never;
}

export class InvariantViolation extends Error {
  readonly invariant: string;

  constructor(invariant: string, what: string) {
    super(`${invariant}: ${what}`);
    this.name = 'InvariantViolation';
    this.invariant = invariant;
  }
}
