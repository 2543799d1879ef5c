import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname as machineName } from 'node:os';
import { join } from 'node:path';
import { readApiToken } from './layout.ts';

/**
 * Which folder the local cluster behind an HTTP port has, so that `leasehold switchover` and the like find its token
 * wherever they are typed. The token itself stays in the folder, readable by its owner only.
 */
export function rememberCluster(httpPort: number, dir: string): void {
  try {
    mkdirSync(registryDir(), { recursive: true, mode: 0o700 });
    writeFileSync(fileOf(httpPort), dir, { mode: 0o600 });
  } catch {
    // A home that cannot be written to: LEASEHOLD_CLUSTER_API_TOKEN does as well.
  }
}

export function forgetCluster(httpPort: number, dir: string): void {
  try {
    if (readFileSync(fileOf(httpPort), 'utf8') === dir) rmSync(fileOf(httpPort), { force: true });
  } catch {
    // Not there.
  }
}

/** The token of the local cluster whose proxy is at this URL; null when it is elsewhere or another user's. */
export function localToken(url: string): string | null {
  const { hostname, port } = new URL(url);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) return null;
  try {
    return readApiToken(readFileSync(fileOf(Number(port)), 'utf8'));
  } catch {
    return readApiToken('.leasehold');
  }
}

function registryDir(): string {
  const state = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local', 'state');
  return join(state, 'leasehold');
}

function fileOf(httpPort: number): string {
  // Two machines may share a home folder.
  const machine = createHash('sha256').update(machineName()).digest('hex').slice(0, 8);
  return join(registryDir(), `${machine}-${httpPort}`);
}
