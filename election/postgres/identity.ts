import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { PostgresEnvironmentError } from './errors.ts';

/**
 * As whom PostgreSQL's programs run. PostgreSQL refuses to run as root, so a root agent gives it an unprivileged user;
 * any other agent runs it as itself.
 */
export interface RunAs {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Whether the agent is root and must change the user (and hand files over by chown). */
  readonly switchUser: boolean;
}

/** @param wanted `postgres.osUser` of the configuration; else the user `postgres`, else `nobody`. */
export function identityFor(wanted: string | undefined): RunAs {
  const self = userInfo();
  if (process.getuid?.() !== 0) return { name: self.username, uid: self.uid, gid: self.gid, switchUser: false };
  for (const name of wanted === undefined ? ['postgres', 'nobody'] : [wanted]) {
    const user = findUser(name);
    if (user === null) continue;
    if (user.uid === 0) throw new PostgresEnvironmentError(`PostgreSQL cannot run as ${name}: that is root`);
    return { ...user, switchUser: true };
  }
  throw new PostgresEnvironmentError(
    `there is no operating-system user ${wanted ?? 'postgres'} to run PostgreSQL as: create it, or set agent.postgres.osUser`,
  );
}

function findUser(name: string): { name: string; uid: number; gid: number } | null {
  return parsePasswd(readIfThere('/etc/passwd'), name) ?? parsePasswd(getent(name), name);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** For users that come from elsewhere than /etc/passwd (LDAP). */
function getent(name: string): string {
  return spawnSync('getent', ['passwd', name], { encoding: 'utf8', timeout: 2000 }).stdout ?? '';
}

/** One user of a passwd(5) text; null where it has none of that name. */
export function parsePasswd(text: string, name: string): { name: string; uid: number; gid: number } | null {
  for (const line of text.split('\n')) {
    const fields = line.split(':');
    if (fields[0] === name && fields.length >= 4) return { name, uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return null;
}

/** Throws where the user cannot enter the folders above `path`: PostgreSQL would only say "Permission denied". */
export function requireReachable(path: string, user: RunAs): void {
  if (!user.switchUser) return;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    if (stat !== undefined) {
      const bit = stat.uid === user.uid ? 0o100 : stat.gid === user.gid ? 0o010 : 0o001;
      if ((stat.mode & bit) === 0) {
        throw new PostgresEnvironmentError(
          `the user ${user.name}, as whom PostgreSQL runs, cannot enter ${folder}: use a dataDir elsewhere, or allow it with chmod o+x`,
        );
      }
    }
    if (folder === dirname(folder)) return;
  }
}
