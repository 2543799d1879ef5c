import { z } from 'zod';
import type { DrillsConfig } from '../../common/config/drills.ts';
import type { Logger } from '../../common/logger.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseStore } from '../../election/store/port.ts';
import { decodeRecord } from '../../election/store/records.ts';
import type { Drills } from './runner.ts';
import { claimed, type OpenWindow, openWindows, type ScheduleRecord, unclaimed } from './schedule.ts';

export interface SchedulerOptions {
  readonly store: LeaseStore;
  readonly cluster: string;
  readonly config: DrillsConfig;
  readonly drills: Pick<Drills, 'start'>;
  readonly logger: Logger;
  /** Wall clock. */
  readonly now?: () => Date;
  readonly lookEveryMs?: number;
}

const CALL = { deadlineMs: 3000 };
const LOOK_EVERY_MS = 20_000;
const scheduleRecord = z.record(z.string(), z.string());

/**
 * Starts the drills of `drills.schedule` when their windows open. Every proxy does so; each window is claimed in etcd before its drill is
 * started, so that it runs at most once in the cluster. What guards refuse is given back and tried again until the window closes.
 */
export class DrillScheduler {
  readonly #options: SchedulerOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Windows that were refused here, with the last reason; told when they close without a drill. */
  readonly #refused = new Map<string, string>();
  #looking: Promise<void> = Promise.resolve();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { config, lookEveryMs = LOOK_EVERY_MS } = options;
    if (config.schedule.length === 0 || !config.enabled) return;
    let idle = true;
    const turn = async (): Promise<void> => {
      if (!idle) return;
      idle = false;
      try {
        await this.look();
      } catch (error) {
        options.logger.warn({ event: 'drill.schedule', err: error }, 'the schedule of drills could not be looked at');
      } finally {
        idle = true;
      }
    };
    this.#timer = setInterval(() => {
      this.#looking = turn();
    }, lookEveryMs);
    this.#timer.unref();
  }

  /** One look at the clock. Exported for tests; resolves when what was due has been started or refused. */
  async look(): Promise<void> {
    const { config, now = () => new Date() } = this.#options;
    const open = openWindows(config.schedule, now());
    this.#tellMissed(open);
    for (const window of open) {
      if (await this.#claim(window)) await this.#start(window);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #start(window: OpenWindow): Promise<void> {
    const { drills, logger } = this.#options;
    const { kind, seconds = null, override } = window.drill;
    try {
      const request = { kind, target: null, seconds, what: 'postgres', override, dsn: null, by: 'schedule' } as const;
      const { id, done } = await drills.start(request);
      this.#refused.delete(nameOf(window));
      logger.info({ event: 'drill.scheduled', id, kind, window: window.window }, 'a scheduled drill begins');
      done.catch((error: unknown) =>
        logger.error({ event: 'drill.failed', id, err: error }, 'a scheduled drill failed'),
      );
    } catch (error) {
      const reason = (error as Error).message;
      if (this.#refused.get(nameOf(window)) !== reason) {
        logger.warn(
          { event: 'drill.postponed', kind, reason },
          'a scheduled drill is refused; it is tried until its window closes',
        );
      }
      this.#refused.set(nameOf(window), reason);
      await this.#write((record) => unclaimed(record, window));
    }
  }

  #tellMissed(open: readonly OpenWindow[]): void {
    const names = new Set(open.map(nameOf));
    for (const [name, reason] of this.#refused) {
      if (names.has(name)) continue;
      this.#refused.delete(name);
      this.#options.logger.error(
        { event: 'drill.missed', window: name, reason },
        'a scheduled drill found no moment in its window',
      );
    }
  }

  /** False: it had its drill, or another proxy was quicker. */
  async #claim(window: OpenWindow): Promise<boolean> {
    return await this.#write((record) => (record[window.entry] === window.window ? null : claimed(record, window)));
  }

  /** One compared write; null from `change`: nothing to do. */
  async #write(change: (record: ScheduleRecord) => ScheduleRecord | null): Promise<boolean> {
    const { store, cluster } = this.#options;
    const key = keysOf(cluster).drillSchedule;
    const { gets } = await store.transact({ compare: [], then: [{ type: 'get', key }] }, CALL);
    const stored = gets[0] ?? null;
    const next = change(stored === null ? {} : (decodeRecord(scheduleRecord, stored.value) ?? {}));
    if (next === null) return false;
    const compare = { type: 'mod-revision', key, equals: stored?.modRevision ?? 0 } as const;
    const put = { type: 'put', key, value: JSON.stringify(next) } as const;
    return (await store.transact({ compare: [compare], then: [put] }, CALL)).succeeded;
  }
}

function nameOf({ entry, window }: OpenWindow): string {
  return `${entry} on ${window}`;
}
