import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** A user of the operating system. */
export interface OsUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who runs PostgreSQL, which refuses to run as root: null for an ordinary user (it runs as that user), else the
 * user `postgres` of a PostgreSQL package, else `nobody`.
 */
export function postgresUser(passwd = readPasswd()): OsUser | null {
  if (process.getuid?.() !== 0) return null;
  for (const wanted of ['postgres', 'nobody']) {
    for (const line of passwd.split('\n')) {
      const [name, , uid, gid] = line.split(':');
      if (name === wanted) return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return null;
}

/** Whether the user can pass through every folder of the path that exists already. */
export function isReachable(path: string, user: OsUser): boolean {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    let info: { mode: number; uid: number; gid: number } | null = null;
    try {
      info = statSync(folder);
    } catch {
      // Not there yet: it will be made with a mode that lets the user in.
    }
    if (info !== null && !mayPass(info, user)) return false;
    if (folder === dirname(folder)) return true;
  }
}

function mayPass(info: { mode: number; uid: number; gid: number }, user: OsUser): boolean {
  if (info.uid === user.uid) return (info.mode & 0o100) !== 0;
  if (info.gid === user.gid) return (info.mode & 0o010) !== 0;
  return (info.mode & 0o001) !== 0;
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return '';
  }
}
