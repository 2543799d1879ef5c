import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { PostgresEnvironmentError } from './errors.ts';

/**
 * The processes of one PostgreSQL server. Backends call setsid(), so the postmaster's process group does not hold
 * them; but every one of them changes its directory to the data directory at start and stays there. So a process
 * belongs to the server if its program is PostgreSQL's and its working directory is the data directory. Children of
 * the postmaster's that are not PostgreSQL (archive_command) cannot acknowledge anything and are left alone.
 */
export interface ServerProcess {
  readonly pid: number;
  readonly parent: number;
  /** In clock ticks since boot: with the pid it names a process for good. */
  readonly startTicks: number;
}

const PROGRAMS = new Set(['postgres', 'postmaster', 'pg_rewind', 'pg_basebackup', 'initdb']);

/**
 * One pass over /proc. An empty answer is a proof: only the postmaster forks, so if it was gone when the pass came to
 * it, every child that it ever made exists throughout the pass or is gone.
 * @param directories resolved paths, without symbolic links
 * @param uid the user that PostgreSQL runs as
 */
export function findProcesses(directories: readonly string[], uid: number): ServerProcess[] {
  if (!existsSync('/proc/self/stat')) return findWithPs(directories);
  const found: ServerProcess[] = [];
  const unreadable: string[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const cwd = readlinkSync(`/proc/${entry}/cwd`);
      if (isOneOf(cwd, directories)) pushIfServer(found, entry);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EACCES') unreadable.push(entry);
    }
  }
  if (unreadable.length > 0) pushUnreadable(found, unreadable, directories, uid);
  return found;
}

function isOneOf(cwd: string, directories: readonly string[]): boolean {
  return directories.includes(cwd.endsWith(' (deleted)') ? cwd.slice(0, -10) : cwd);
}

/** Of a zombie the working directory cannot be read, so none is ever seen here. */
function pushIfServer(found: ServerProcess[], pid: string): void {
  const process = readStat(Number(pid));
  if (process !== null && PROGRAMS.has(process.program)) found.push(process);
}

interface Stat extends ServerProcess {
  readonly program: string;
}

/** From /proc/<pid>/stat (proc(5)); null when the process is gone or a zombie. */
function readStat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const close = text.lastIndexOf(')');
    const fields = text.slice(close + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    const program = text.slice(text.indexOf('(') + 1, close);
    return { pid, program, parent: Number(fields[1]), startTicks: Number(fields[19]) };
  } catch {
    return null;
  }
}

/**
 * A root without CAP_SYS_PTRACE (a container's) may not read another user's /proc/<pid>/cwd, but that user may: so
 * a shell is run as that user and group to read them. Throws where one stays unreadable: an answer that leaves a
 * process out would be taken for a proof that it is gone.
 */
function pushUnreadable(
  found: ServerProcess[],
  pids: readonly string[],
  directories: readonly string[],
  uid: number,
): void {
  const isCandidate = (pid: string) => {
    const process = readStat(Number(pid));
    return process !== null && PROGRAMS.has(process.program) && ownerOf(pid)?.uid === uid;
  };
  const candidates = pids.filter(isCandidate);
  const [first] = candidates;
  if (first === undefined) return;
  const gid = ownerOf(first)?.gid;
  if (gid === undefined) return pushUnreadable(found, candidates, directories, uid);
  const script = 'for p in "$@"; do printf "%s %s\\n" "$p" "$(readlink /proc/$p/cwd)"; done';
  const result = spawnSync('/bin/sh', ['-c', script, 'sh', ...candidates], {
    encoding: 'latin1',
    timeout: 2000,
    ...(process.getuid?.() === 0 ? { uid, gid } : {}),
  });
  const told = new Map<string, string>();
  for (const line of (result.stdout ?? '').split('\n')) {
    const space = line.indexOf(' ');
    if (space > 0 && space < line.length - 1) told.set(line.slice(0, space), line.slice(space + 1));
  }
  for (const pid of candidates) {
    const cwd = told.get(pid);
    if (cwd !== undefined && isOneOf(cwd, directories)) pushIfServer(found, pid);
    if (cwd === undefined && isCandidate(pid)) {
      throw new PostgresEnvironmentError(`process ${pid} may be PostgreSQL's, but /proc/${pid}/cwd cannot be read`);
    }
  }
}

function ownerOf(pid: string): { readonly uid: number; readonly gid: number } | null {
  try {
    return statSync(`/proc/${pid}`);
  } catch {
    return null;
  }
}

/** Where there is no /proc: the postmaster of the directory's lock file, and its children. */
function findWithPs(directories: readonly string[]): ServerProcess[] {
  const masters = directories.map(readPostmasterPid).filter((pid) => pid !== null);
  const result = spawnSync('ps', ['-axo', 'pid=,ppid=,comm='], { encoding: 'latin1', timeout: 2000 });
  const found: ServerProcess[] = [];
  for (const line of (result.stdout ?? '').split('\n')) {
    const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line);
    if (match === null || !/postgres|postmaster/.test(match[3] ?? '')) continue;
    const [pid, parent] = [Number(match[1]), Number(match[2])];
    if (masters.includes(pid) || masters.includes(parent)) found.push({ pid, parent, startTicks: 0 });
  }
  return found;
}

/** The first line of the server's lock file; null where there is none. It may name a process that is gone. */
export function readPostmasterPid(dataDir: string): number | null {
  return readLockFile(dataDir)?.pid ?? null;
}

function readLockFile(dataDir: string): { readonly pid: number; readonly sharedMemoryId: string | null } | null {
  try {
    const lines = readFileSync(`${dataDir}/postmaster.pid`, 'latin1').split('\n');
    const pid = Number(lines[0]);
    if (!Number.isInteger(pid) || pid <= 1) return null;
    return { pid, sharedMemoryId: lines[6]?.trim().split(/\s+/)[1] ?? null };
  } catch {
    return null;
  }
}

/**
 * How many processes hold the shared memory segment of the server whose lock file lies in the directory: every
 * process of a server does, which is how PostgreSQL itself refuses to start beside left-over backends. A second
 * witness to `findProcesses`. 0 where nothing is known.
 */
export function countSharedMemoryHolders(dataDir: string): number {
  const id = readLockFile(dataDir)?.sharedMemoryId ?? null;
  if (id === null) return 0;
  try {
    for (const line of readFileSync('/proc/sysvipc/shm', 'latin1').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[1] === id) return Number(fields[6]);
    }
  } catch {
    // not Linux
  }
  return 0;
}

/** Whether this very process (not a later one with its pid) still runs. */
export function isAlive(process: ServerProcess): boolean {
  return readStat(process.pid)?.startTicks === process.startTicks;
}

/** Sends a signal; a process that is already gone is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

const WITNESS_ROUNDS = 150;

/**
 * SIGKILL to every process of the server until a pass finds none. It has no time limit of its own: a process that
 * cannot be killed (stuck in the kernel) must not be taken for dead. `foundAny` says whether there was anything to kill.
 * The shared memory's holders are waited for as well, but for some seconds only: after a reboot the id in an old lock
 * file may have become another server's.
 */
export async function killAllProcesses(dataDir: string, uid: number): Promise<{ readonly foundAny: boolean }> {
  let foundAny = false;
  let emptyRounds = 0;
  for (let round = 0; ; round++) {
    const found = findProcesses([dataDir], uid);
    for (const one of found) sendSignal(one.pid, 'SIGKILL');
    emptyRounds = found.length === 0 ? emptyRounds + 1 : 0;
    if (emptyRounds > 0 && (countSharedMemoryHolders(dataDir) === 0 || emptyRounds > WITNESS_ROUNDS))
      return { foundAny };
    foundAny ||= found.length > 0;
    await sleep(Math.min(1 + round, 20));
  }
}

/** The children of a process, whoever they run as; [] where there is no /proc. */
export function childrenOf(parent: number): ServerProcess[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => readStat(Number(entry)))
    .filter((one) => one !== null && one.parent === parent) as ServerProcess[];
}

/**
 * The same as `findProcesses` where the postmaster lives, without looking at anybody's working directory (which can
 * be slow, see there): it and its children. Empty where there is none, which proves nothing.
 * Only for a postmaster that was started with `-D <dataDir>` as its first argument, as ours are.
 */
export function findLivingServer(dataDir: string): ServerProcess[] {
  const pid = readPostmasterPid(dataDir);
  const postmaster = pid === null ? null : readStat(pid);
  if (postmaster === null || !titleOf(postmaster.pid).includes(` -D ${dataDir} `)) return [];
  return [postmaster, ...childrenOf(postmaster.pid)];
}

/** The process's title (`postgres: walreceiver …`), '' when it is gone. */
export function titleOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ').trimEnd();
  } catch {
    return '';
  }
}
