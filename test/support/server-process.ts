import { type ChildProcess, execFile } from 'node:child_process';
import { chmod, chown, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Ends a PostgreSQL server by a signal, and waits until it is gone. */
export async function stopProcess(child: ChildProcess, signal: NodeJS.Signals, data: string): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await Promise.race([ended, sleep(10_000)]);
  await rm(join(data, 'postmaster.pid'), { force: true });
}

/** PostgreSQL refuses to run as root: gives the folder to the user that it may run as, and says who that is. */
export async function unprivileged(folder: string): Promise<{ uid?: number; gid?: number }> {
  await chmod(folder, 0o755);
  if (process.getuid?.() !== 0) return {};
  const uid = Number((await run('id', ['-u', 'postgres'])).stdout);
  const gid = Number((await run('id', ['-g', 'postgres'])).stdout);
  await chown(folder, uid, gid);
  return { uid, gid };
}
