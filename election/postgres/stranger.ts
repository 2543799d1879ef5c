import { PostgresEnvironmentError } from './errors.ts';
import type { NodeLayout } from './files.ts';
import { findProcesses, readPostmasterPid, titleOf } from './processes.ts';

/**
 * An agent kills whatever runs in its data directory before it does anything else: nobody has watched it. A server that no agent has
 * started is not ours to kill, it may be in use. Throws `PostgresEnvironmentError` where one runs.
 */
export function requireNoStranger(layout: NodeLayout, uid: number): void {
  const pid = readPostmasterPid(layout.dataDir);
  if (pid === null || !findProcesses([layout.dataDir], uid).some((one) => one.pid === pid)) return;
  // Agents start theirs with this file, and a postmaster keeps its title.
  if (titleOf(pid).includes(layout.configFile)) return;
  throw new PostgresEnvironmentError(
    `a PostgreSQL that no agent has started runs in ${layout.dataDir} (pid ${pid}): stop it; data that is new to Leasehold is prepared with \`leasehold adopt\``,
  );
}
