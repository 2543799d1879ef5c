import { createServer, type Server, type Socket } from 'node:net';
import { LeaseholdError } from '../../common/errors.ts';

/** Connections that the kernel keeps while they wait to be accepted. */
const BACKLOG = 1024;

/**
 * Listens for clients. Sockets are handed over as they come, unread. Throws LeaseholdError `PORT_IN_USE` or `LISTEN`
 * naming the address and the setting. The caller closes the server.
 */
export function listen(
  at: { readonly host: string; readonly port: number; readonly reusePort?: boolean },
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
    server.listen({ host: at.host, port: at.port, backlog: BACKLOG, reusePort: at.reusePort ?? false }, () => {
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
export async function stopListening(server: Server): Promise<void> {
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
