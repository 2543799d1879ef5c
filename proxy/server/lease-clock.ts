import { readFileSync } from 'node:fs';
import { bootTimeClock, type Clock } from '../../common/clock.ts';

/** How often `/proc/uptime` is read at most: reading it takes some microseconds, and the clock is asked for each unit. */
const READ_EVERY_MS = 20;

/**
 * The proxy's one clock: never behind the time that passed, a suspended machine included, to within 20 ms after it
 * woke. A stale reading of the uptime only makes the correction come later.
 */
export function createLeaseClock(): Clock {
  let readAtMs = -Infinity;
  let uptimeMs: number | null = null;
  return bootTimeClock(() => {
    const nowMs = performance.now();
    if (nowMs - readAtMs >= READ_EVERY_MS) {
      readAtMs = nowMs;
      uptimeMs = readUptimeMs();
    }
    return uptimeMs;
  });
}

function readUptimeMs(): number | null {
  try {
    return Number(readFileSync('/proc/uptime', 'latin1').split(' ', 1)[0]) * 1000;
  } catch {
    return null; // not Linux: the monotonic clock is all there is
  }
}
