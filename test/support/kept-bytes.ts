import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** What is dead is freed beside the program: it takes some turns to show. */
async function collect(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    gc();
    await setImmediate();
  }
}

/** So many buffers are kept. */
export const COUNT = 400;

/** Bytes of buffers that are alive because of what `keep` returned, each call of which comes between buffers of no duration. */
export async function keptBy(keep: (index: number) => unknown): Promise<number> {
  await collect();
  const before = process.memoryUsage().arrayBuffers;
  const kept = Array.from({ length: COUNT }, (_, index) => {
    for (let i = 0; i < 3; i += 1) Buffer.allocUnsafe(Math.floor(Buffer.poolSize / 2) - 1).fill(index);
    return keep(index);
  });
  await collect();
  const bytes = process.memoryUsage().arrayBuffers - before;
  assert.equal(kept.length, COUNT);
  return bytes;
}

/** What they may take where each has memory of its own; a slab for each would be many times that. */
export const LITTLE = COUNT * 1024;
