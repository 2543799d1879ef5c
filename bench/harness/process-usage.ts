import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10;

/** User and system time so far of a process and of those that it has forked. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
export function processorMs(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + ticksOf(each) * TICK_MS, 0);
}

/** Resident memory of them, in KiB: what is shared between them is counted once (PSS) where the kernel tells. */
export function residentKiB(pid: number): number {
  return familyOf(pid).reduce((sum, each) => sum + residentOf(each), 0);
}

/** Field 14 and 15, behind the name, which may have spaces in it. */
export function parseTicks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function ticksOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  return stat === '' ? 0 : parseTicks(stat);
}

function residentOf(pid: number): number {
  const rollup = read(`/proc/${pid}/smaps_rollup`);
  const text = rollup === '' ? read(`/proc/${pid}/status`) : rollup;
  return Number(/^(?:Pss|VmRSS):\s+(\d+)/m.exec(text)?.[1] ?? 0);
}

function familyOf(pid: number): number[] {
  const found = [pid];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === pid) continue;
    const stat = read(`/proc/${name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent === pid) found.push(Number(name));
  }
  return found;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // it has ended
  }
}
