import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { ANY_ADDRESS, listenHosts } from '../../common/config/listen-hosts.ts';
import type { ProxyConfig } from '../../common/config/schema.ts';
import { LeaseholdError } from '../../common/errors.ts';
import { DirectSocket } from '../net/direct-socket.ts';
import { listenOnUnixSocket, type UnixSocket } from './unix-socket.ts';

/** Connections that the kernel keeps while they wait to be accepted. */
const BACKLOG = 1024;

/** Everything that clients come in by. */
export interface Doors {
  readonly host: string;
  readonly port: number;
  /** No new connections; resolves when the last one is gone. */
  stopListening(): Promise<void>;
}

/**
 * Listens on every address and, where one is wanted, on a Unix socket. Sockets are handed over as they come, unread. Throws
 * LeaseholdError `PORT_IN_USE` or `LISTEN` naming the address and the setting; then nothing is left open.
 */
export async function openDoors(
  at: ProxyConfig['listen'],
  onConnection: (socket: Socket, local: boolean) => void,
): Promise<Doors> {
  const hosts = listenHosts(at.host);
  const servers: Server[] = [];
  let { port } = at;
  let unix: UnixSocket | null = null;
  try {
    for (const host of hosts) {
      const opened = await listen({ ...at, host, port, ipv6Only: hosts.length > 1 && isIPv6(host) }, (socket) =>
        onConnection(DirectSocket.adopt(socket), false),
      ).catch((error: unknown) => {
        if (isAbsentFamily(error) && servers.length > 0 && ANY_ADDRESS.includes(host)) return null;
        throw error;
      });
      if (opened === null) continue;
      servers.push(opened.server);
      port = opened.port; // 0 was chosen: the other addresses get the same
    }
    if (at.unixSocketDir !== undefined) {
      const mode = Number.parseInt(at.unixSocketMode, 8);
      const socket = { folder: at.unixSocketDir, port, mode, takeOver: at.reusePort, backlog: BACKLOG };
      unix = await listenOnUnixSocket(socket, (each) => onConnection(DirectSocket.adopt(each), true));
      servers.push(unix.server);
    }
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
  return {
    host: hosts[0] ?? at.host,
    port,
    async stopListening() {
      const stopped = servers.map(stopListening);
      await unix?.remove();
      await Promise.all(stopped);
    },
  };
}

/** `*` on a machine without IPv6. */
function isAbsentFamily(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === 'EAFNOSUPPORT' || cause?.code === 'EADDRNOTAVAIL';
}

function listen(
  at: { readonly host: string; readonly port: number; readonly reusePort: boolean; readonly ipv6Only: boolean },
  onConnection: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: false }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${at.host}:${at.port}`;
      if (error.code === 'EADDRINUSE') {
        const message = `port in use: another process listens on ${where}; choose another proxy.listen.port (--port), or let both set proxy.listen.reusePort to take it over`;
        reject(new LeaseholdError('PORT_IN_USE', message, error));
      } else {
        const message = `cannot listen on ${where} (proxy.listen): ${error.message}`;
        reject(new LeaseholdError('LISTEN', message, error));
      }
    });
    const { host, port, reusePort, ipv6Only } = at;
    server.listen({ host, port, backlog: BACKLOG, reusePort, ipv6Only }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined); // of accepting: EMFILE and the like; the server goes on
      resolve({ server, port: (server.address() as { port: number }).port });
    });
  });
}

/** Turns of the event loop that may pass with connections still coming in. */
const MAX_TURNS = 1_000;

/**
 * No new connections; resolves when the last one is gone. The kernel resets what is in a listening socket's queue when it is
 * closed, so the queue is emptied first: it is closed at the end of a turn of the event loop that brought nothing. (Where another
 * process shares the port, Linux 5.14's `net.ipv4.tcp_migrate_req = 1` also hands over a handshake that is half done.)
 */
async function stopListening(server: Server): Promise<void> {
  let came = true;
  const onConnection = (): void => {
    came = true;
  };
  server.on('connection', onConnection);
  for (let turn = 0; came && turn < MAX_TURNS; turn += 1) {
    came = false;
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  server.off('connection', onConnection);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
}
