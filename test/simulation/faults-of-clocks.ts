import type { Faults } from './faults.ts';

/** Everything on the machine stands still, and its clock counts the time (CLOCK_BOOTTIME). */
export function sleep(faults: Faults): void {
  const { watchdog, agent, postgres } = faults.someNode();
  watchdog.disturbed();
  faults.stop([watchdog.process, agent, postgres.process], () => watchdog.disturbed());
}

/** The machine's host pauses it and does not say so: every deadline on it moves. Only the pledges keep it from acknowledging. */
export function loseTime(faults: Faults): void {
  const { watchdog, agent, postgres, clock } = faults.someNode();
  watchdog.disturbed();
  clock.stop();
  faults.stop([watchdog.process, agent, postgres.process], () => {
    clock.resume();
    watchdog.disturbed();
  });
}

/** The clock stands still while everything runs. */
export function stopClock(faults: Faults): void {
  const { watchdog, clock } = faults.someNode();
  watchdog.disturbed();
  clock.stop();
  faults.lasting(faults.duration(), () => {
    clock.resume();
    watchdog.disturbed();
  });
}

/** By a moment or by several lease times. */
export function jumpAhead(faults: Faults): void {
  faults.someNode().clock.jumpAhead(faults.duration());
}
