import { readFileSync } from 'node:fs';

/**
 * A clock that all processes of this machine share, in milliseconds since boot: CLOCK_BOOTTIME by /proc/uptime, which
 * also counts the time that the machine slept; elsewhere CLOCK_MONOTONIC. Resolution 10 ms.
 */
export function machineUptimeMs(): number {
  try {
    return Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1000;
  } catch {
    return Number(process.hrtime.bigint() / 1_000_000n);
  }
}
