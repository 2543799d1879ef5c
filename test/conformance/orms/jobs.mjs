import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const signals = process.argv[3];

/**
 * Puts a job each 50 ms until the suite says that the changes are over and two seconds more, then waits until all that were
 * taken are done. `put(number)` resolves when the queue has taken it. Each must be done once at least.
 */
export async function everyJobIsDone(done, put) {
  console.log('ready-for jobs');
  let number = 0;
  const deadline = performance.now() + 150_000;
  for (let left = 40; left > 0; ) {
    if (performance.now() > deadline) throw new Error('the changes took longer than two minutes');
    if (existsSync(join(signals, 'jobs'))) left -= 1;
    number += 1;
    await put(number);
    await sleep(50);
  }
  const all = Array.from({ length: number }, (_, i) => i + 1);
  const until = performance.now() + 60_000;
  while (performance.now() < until && all.some((n) => !done.has(n))) await sleep(50);
  const missing = all.filter((n) => !done.has(n));
  if (missing.length > 0)
    throw new Error(`${missing.length} of ${number} jobs are not done: ${missing.slice(0, 10).join()}`);
  console.error(`${number} jobs, each done; ${[...done.values()].filter((times) => times > 1).length} more than once`);
}

/** Whatever nobody awaited is a fault of the run. */
export const unhandled = [];
process.on('unhandledRejection', (error) => unhandled.push(error));

export function nothingUnhandled(errors) {
  const all = [...unhandled, ...errors];
  if (all.length > 0)
    throw new Error(`${all.length} errors, the first: ${all[0]?.code ?? ''} ${all[0]?.message ?? all[0]}`);
}
