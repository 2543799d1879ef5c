import type { Clock } from '../../common/clock.ts';
import type { LiveConfig } from '../../common/config/live.ts';
import type { ProxyConfig } from '../../common/config/schema.ts';
import type { Logger } from '../../common/logger.ts';
import type { ReplicationMonitor } from '../../replication-monitor/types.ts';
import type { ProxyMetrics } from '../admin/types.ts';
import type { DefaultsSource } from '../auth/types.ts';
import type { CancelKeys } from '../auth/cancel-keys.ts';
import type { LeaseView, WriteGate } from '../cluster/types.ts';
import type { PoolSet } from '../pool/pool-set.ts';
import type { Classifier, VolatilityCatalog } from '../sql/types.ts';
import type { StatementStore } from './prepared.ts';
import type { SequenceReaders } from './sequences.ts';
import type { ShadowLog } from './shadow.ts';

/** What all sessions of a proxy share. */
export interface SessionContext {
  /** `config` is `live.current`: to be read anew each time, since a reload replaces it. */
  readonly config: ProxyConfig;
  readonly live: LiveConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly classifier: Classifier;
  readonly lease: LeaseView;
  readonly gate: WriteGate;
  readonly monitor: ReplicationMonitor;
  readonly pools: PoolSet;
  readonly roleDefaults: DefaultsSource;
  readonly metrics: ProxyMetrics;
  readonly statements: StatementStore;
  readonly cancelKeys: CancelKeys;
  /** Of one database; `invalidate` after DDL passed through. */
  catalogOf(database: string): VolatilityCatalog & { invalidate(): void };
  /** Local time of the last commit to each database that this proxy passed on (level `database`). */
  readonly databaseFloors: Map<string, number>;
  /** The service role has its own way to ask any node. */
  readonly version: string;
  readonly shadow: ShadowLog;
  readonly sequenceReaders: SequenceReaders;
  /** The cluster's name. */
  readonly cluster: string;
}
