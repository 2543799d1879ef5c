import { execFile } from 'node:child_process';
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Heal } from './network.ts';

const run = promisify(execFile);

/** More than a run of an hour writes, WAL kept for followers included; it takes memory only as it is used. */
const DISK_BYTES = 2500 * 2 ** 20;

const SLACK_BLOCKS = 16;
const MOST_ATTEMPTS = 20;

/** A small file system in memory for each node, so that it can be filled. */
export interface Disks extends AsyncDisposable {
  /** Null where disks can be filled, else why not. */
  readonly missing: string | null;
  /** Where a node keeps its data: a folder of its own, on its disk. */
  folder(node: string): string;
  /** Takes all the space that is left. */
  fill(node: string): Promise<Heal>;
}

/** Below the folder; without root plain folders, with the reason. Whoever opens them disposes of them before the folder goes. */
export async function openDisks(folder: string, nodes: readonly string[]): Promise<Disks> {
  const mounted: string[] = [];
  const path = (node: string): string => join(folder, `${node}-disk`);
  for (const node of nodes) mkdirSync(path(node), { mode: 0o755 });
  let missing: string | null = null;
  try {
    for (const node of nodes) {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=0755`, 'leasehold-torture', path(node)]);
      mounted.push(path(node));
    }
  } catch (error) {
    missing = `a file system could not be mounted: ${(error as Error).message.trim().split('\n').at(-1)}`;
  }
  const close = async (): Promise<void> => {
    for (const each of mounted.splice(0)) await run('umount', ['--lazy', each]).catch(() => null);
  };
  if (missing !== null) await close();
  return {
    missing,
    folder: path,
    fill: async (node) => {
      if (missing !== null) throw new Error(missing);
      const resize = (bytes: number) => run('mount', ['-o', `remount,size=${bytes}`, path(node)]);
      for (let attempt = 1; ; attempt++) {
        const { blocks, bfree, bsize } = statfsSync(path(node));
        try {
          // It is made as small as what is in it, which takes no time and no memory. Others write meanwhile.
          await resize((blocks - bfree + SLACK_BLOCKS * attempt) * bsize);
          return async () => void (await resize(DISK_BYTES));
        } catch (error) {
          if (attempt >= MOST_ATTEMPTS) throw error;
        }
      }
    },
    [Symbol.asyncDispose]: close,
  };
}
