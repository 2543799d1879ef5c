import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { LeaseholdError } from '../../common/errors.ts';
import { ownerOfPort } from './process-table.ts';

/** Null when the port can be listened on, else the reason (`EADDRINUSE`, `EACCES`, …). */
export function whyNotFree(port: number, host = '127.0.0.1'): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** Throws `PORT` with the port, its owner where the system tells, and the option that changes it. */
export async function requireFree(port: number, what: string, option: string): Promise<void> {
  const reason = await whyNotFree(port);
  if (reason !== null) throw new LeaseholdError('PORT', portMessage(port, what, option, reason, ownerOfPort(port)));
}

export function portMessage(port: number, what: string, option: string, reason: string, owner: string | null): string {
  const change = `choose another with ${option} ${port < 65000 ? port + 10000 - (port % 10000 > 5000 ? 5000 : 0) : 16432}`;
  if (reason === 'EADDRINUSE') {
    return `port ${port} (${what}) is in use${owner === null ? '' : ` by ${owner}`}: stop that, or ${change}`;
  }
  if (reason === 'EACCES') return `port ${port} (${what}) is not for this user: ${change}`;
  return `port ${port} (${what}) cannot be used (${reason}): ${change}`;
}

/**
 * Keeps the remembered port where it is free, else picks one. Below the range that the system gives to outgoing
 * connections: there, a dead server's port could be taken by a client meanwhile, and one that keeps trying to
 * connect to it may even connect to itself.
 */
export async function pickPort(remembered: number | undefined, taken: Set<number>): Promise<number> {
  if (remembered !== undefined && !taken.has(remembered) && (await whyNotFree(remembered)) === null) {
    taken.add(remembered);
    return remembered;
  }
  const [low, high] = pickRange();
  for (let tries = 0; tries < 200; tries++) {
    const port = low + Math.floor(Math.random() * (high - low));
    if (taken.has(port) || (await whyNotFree(port)) !== null) continue;
    taken.add(port);
    return port;
  }
  throw new LeaseholdError('PORT', `no free port between ${low} and ${high}`);
}

function pickRange(): [number, number] {
  try {
    const first = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s/)[0]);
    if (first > 14000) return [12000, Math.min(first, 32000)];
  } catch {
    // No /proc: the usual range starts at 32768 or higher.
  }
  return [12000, 32000];
}
