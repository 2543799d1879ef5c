import { setTimeout as sleep } from 'node:timers/promises';
import { ActionRefused } from '../admin/action-refused.ts';
import type { ProxyControl } from '../admin/types.ts';
import { ClientError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import type { PoolSet } from '../pool/pool-set.ts';
import type { Session } from '../session/session.ts';
import type { Stopping } from './drain.ts';
import type { Reloader } from './reload.ts';

/** Databases that an operator closed to new clients. Names come from operators; each is one. */
export class DisabledDatabases {
  readonly #names = new Set<string>();

  has(database: string): boolean {
    return this.#names.has(database);
  }

  set(database: string, disabled: boolean): void {
    if (disabled) this.#names.add(database);
    else this.#names.delete(database);
  }

  names(): Iterable<string> {
    return this.#names;
  }
}

export interface OperationsOptions {
  readonly reloader: Reloader;
  readonly stopping: Stopping;
  readonly pools: PoolSet;
  readonly sessions: ReadonlySet<Session>;
  readonly disabled: DisabledDatabases;
  readonly aside: (ms: number) => void;
  /** `drills`. */
  readonly drills: { readonly enabled: boolean; readonly maxSeconds: number };
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 20;

/** What operators do to this process; each is logged. */
export function createControl(options: OperationsOptions): ProxyControl {
  const { reloader, stopping, pools, sessions, disabled, logger } = options;
  const log = (what: string, database: string | null, more: object = {}): void =>
    logger.info({ event: `operator.${what}`, database, ...more }, 'an operator asked');
  return {
    reload: () => reloader.reload(),
    set: (path, text) => reloader.set(path, text),
    stop(how) {
      log('stop', null, { how });
      stopping.begin(how);
    },
    async pause(database, signal) {
      log('pause', database);
      await pools.pause(database, signal);
    },
    isPaused: (database) => (database === null ? pools.pauses.any : pools.pauses.holds(database)),
    resume(database) {
      log('resume', database);
      pools.resume(database);
    },
    reconnect(database) {
      log('reconnect', database);
      pools.reconnect(database);
    },
    async waitClose(database, signal) {
      while (isClosing(pools, database)) await sleep(LOOK_EVERY_MS, undefined, { signal });
    },
    kill(database) {
      log('kill', database);
      let ended = 0;
      for (const session of sessions) {
        if (session.client.database !== database) continue;
        session.terminate(ordered());
        ended += 1;
      }
      pools.kill(database);
      return ended;
    },
    killClient(id) {
      log('kill-client', null, { id });
      for (const session of sessions) {
        if (session.processId !== id) continue;
        session.terminate(ordered());
        return true;
      }
      return false;
    },
    setEnabled(database, enabled) {
      log(enabled ? 'enable' : 'disable', database);
      disabled.set(database, !enabled);
    },
    stepAside(seconds) {
      const { enabled, maxSeconds } = options.drills;
      if (!enabled && seconds > 0) throw new ActionRefused(409, 'drills are turned off here (drills.enabled)');
      if (!(seconds >= 0 && seconds <= maxSeconds)) {
        throw new ActionRefused(409, `seconds must be from 0 to ${maxSeconds} (drills.maxSeconds)`);
      }
      log('step-aside', null, { seconds });
      options.aside(seconds * 1000);
    },
  };
}

function isClosing(pools: PoolSet, database: string | null): boolean {
  for (const pool of pools.all()) {
    if (database !== null && pool.options.database !== database) continue;
    if (pool.stock.leaving > 0) return true;
    for (const { retireAtMs } of pool.stock.all) if (retireAtMs <= pools.clock.nowMs()) return true;
  }
  return false;
}

function ordered(): ClientError {
  return new ClientError({
    sqlState: '57P01',
    severity: 'FATAL',
    message: 'terminating connection due to administrator command',
  });
}
