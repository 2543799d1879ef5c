import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that is remembered across runs: the start time tells it from a later one with the same pid. */
export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks since boot (`/proc/<pid>/stat`), or null where there is no /proc. */
  readonly startTime: string | null;
}

export function markOf(pid: number): ProcessMark {
  return { pid, startTime: startTimeOf(pid) };
}

/** Whether this very process still runs. A zombie does not. */
export function isAlive(mark: ProcessMark): boolean {
  if (mark.startTime !== null) return startTimeOf(mark.pid) === mark.startTime;
  try {
    process.kill(mark.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Waits until none of these processes is left, SIGKILLs those that outlive the time. Returns how many it had to kill. */
export async function waitUntilGone(marks: readonly ProcessMark[], timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (!marks.some(isAlive)) return 0;
    await sleep(50);
  }
  const stubborn = marks.filter(isAlive);
  for (const mark of stubborn) signalQuietly(mark.pid, 'SIGKILL');
  for (let tries = 0; tries < 40 && stubborn.some(isAlive); tries++) await sleep(50);
  return stubborn.length;
}

export function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already, which is what was wanted.
  }
}

/** `pid (command)` of whoever listens on a TCP port of this machine; null where the system does not tell. */
export function ownerOfPort(port: number): string | null {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readLines(table).slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      // 0A: LISTEN, https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
      if (state === '0A' && Number.parseInt(local?.split(':')[1] ?? '', 16) === port) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return null;
  for (const pid of listFolder('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const fd of listFolder(`/proc/${pid}/fd`)) {
      if (!inodes.has(readLink(`/proc/${pid}/fd/${fd}`))) continue;
      const command = readLines(`/proc/${pid}/cmdline`)[0]?.replaceAll('\0', ' ').trim().slice(0, 80) ?? '';
      return `process ${pid} (${command})`;
    }
  }
  return null;
}

function startTimeOf(pid: number): string | null {
  const stat = readLines(`/proc/${pid}/stat`)[0];
  if (stat === undefined || stat === '') return null;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? null : (fields[19] ?? null);
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
