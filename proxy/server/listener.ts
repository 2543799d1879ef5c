import { createServer, type Server, type Socket } from 'node:net';
import { LeaseholdError } from '../../common/errors.ts';

/** Connections that the kernel keeps while they wait to be accepted. */
const BACKLOG = 1024;

/**
 * Listens for clients. Sockets are handed over as they come, unread. Throws LeaseholdError `PORT_IN_USE` or `LISTEN`
 * naming the address and the setting. The caller closes the server.
 */
export function listen(
  at: { readonly host: string; readonly port: number },
  onConnection: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: false }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${at.host}:${at.port}`;
      if (error.code === 'EADDRINUSE') {
        const message = `port in use: another process listens on ${where}; choose another proxy.listen.port (--port)`;
        reject(new LeaseholdError('PORT_IN_USE', message, error));
      } else {
        const message = `cannot listen on ${where} (proxy.listen): ${error.message}`;
        reject(new LeaseholdError('LISTEN', message, error));
      }
    });
    server.listen({ host: at.host, port: at.port, backlog: BACKLOG }, () => {
      server.removeAllListeners('error');
      server.on('error', () => undefined); // of accepting: EMFILE and the like; the server goes on
      resolve({ server, port: (server.address() as { port: number }).port });
    });
  });
}

/** No new connections; resolves when the last one is gone. */
export function stopListening(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
