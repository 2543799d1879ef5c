import { readFileSync } from 'node:fs';

/**
 * A clock that only goes forward, in milliseconds since an arbitrary start. Values of one process are compared
 * with each other only, never sent to another machine.
 */
export interface Clock {
  nowMs(): number;
}

/** Node's monotonic clock. It may stand still while the machine sleeps (CLOCK_MONOTONIC). */
export const monotonicClock: Clock = { nowMs: () => performance.now() };

/**
 * A clock that never runs behind the time that really passed: the monotonic clock plus whatever `/proc/uptime`
 * (CLOCK_BOOTTIME, which counts a suspended machine) has gained on it. Lease deadlines use this one, since a
 * lease goes on expiring in etcd while this machine sleeps. Resolution of the correction: 10 ms, so it is only
 * applied when the two differ by more than 100 ms.
 */
export function bootTimeClock(readUptimeMs: () => number | null = readProcUptimeMs): Clock {
  const monotonicStart = performance.now();
  const uptimeStart = readUptimeMs();
  let sleptMs = 0;
  return {
    nowMs() {
      const monotonic = performance.now();
      const uptime = readUptimeMs();
      if (uptime !== null && uptimeStart !== null) {
        const gained = uptime - uptimeStart - (monotonic - monotonicStart);
        if (gained > sleptMs + 100) sleptMs = gained;
      }
      return monotonic + sleptMs;
    },
  };
}

function readProcUptimeMs(): number | null {
  try {
    return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000;
  } catch {
    return null; // not Linux: the monotonic clock is all there is
  }
}
