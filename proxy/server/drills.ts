import type { LeaseholdConfig, ServiceConfig } from '../../common/config/schema.ts';
import type { ClusterActions } from '../admin/actions.ts';
import { DrillJournal } from '../drill/journal.ts';
import { DrillRunner } from '../drill/runner.ts';
import { DrillScheduler } from '../drill/scheduler.ts';
import { createWorld, gatherFacts, type WorldOptions } from '../drill/world.ts';
import type { ProxyParts } from './parts.ts';
import { driverTls } from './tls.ts';

export interface ProxyDrills {
  readonly runner: DrillRunner;
  close(): Promise<void>;
}

/** A drill that is under way when the proxy ends is ended early; it gets so long to write its report. */
const END_MS = 3000;

/** The drills of this proxy, and their schedule, on its parts. The caller closes them before the parts. */
export function createDrills(config: LeaseholdConfig, parts: ProxyParts, actions: ClusterActions): ProxyDrills {
  const { cluster, drills, proxy } = config;
  const { store, context, metrics, auth } = parts;
  const journal = new DrillJournal(store, cluster.name, drills.keep);
  const serverTls = driverTls(() => auth.current.serverTls);
  const options: WorldOptions = {
    store,
    cluster,
    drills,
    // A proxy does not start without it.
    service: config.service as ServiceConfig,
    proxyId: proxy.id,
    lease: context.lease,
    freshness: () => context.monitor.snapshot,
    clientsPaused: () => context.pools.pauses.any,
    counts: () => ({ holds: { ...metrics.holds }, errors: metrics.errors() }),
    serverTls: () => serverTls,
    actions,
    journal,
  };
  const runner = new DrillRunner({
    journal,
    proxyId: proxy.id,
    dsn: drills.dsn ?? null,
    facts: () => gatherFacts(options),
    world: (dsn) => createWorld(options, dsn),
    logger: context.logger,
  });
  const { logger } = context;
  const scheduler = new DrillScheduler({ store, cluster: cluster.name, config: drills, drills: runner, logger });
  return {
    runner,
    async close() {
      await scheduler.close();
      await runner.close(END_MS);
    },
  };
}
