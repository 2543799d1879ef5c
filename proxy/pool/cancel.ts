import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { cancelRequest, SSL_REQUEST } from '../wire/encode.ts';

const CANCEL_TIMEOUT_MS = 5_000;

export interface CancelAddress {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** `prefer`: in the clear where no TLS is offered. */
  readonly tls: 'off' | 'prefer' | 'require';
}

/**
 * Asks a server (or another proxy) to cancel what the connection with this key does. Calls `done` once, when it has closed
 * the connection (it has then signalled the backend) or when that took too long. Whether anything was cancelled is never told.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export function sendCancelRequest(
  target: CancelAddress,
  key: { readonly processId: number; readonly secretKey: Buffer },
  done: () => void,
): void {
  const { host, port } = target;
  const request = cancelRequest(key.processId, key.secretKey);
  const socket = host.startsWith('/') ? connect({ path: `${host}/.s.PGSQL.${port}` }) : connect({ host, port });
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(limit);
    socket.destroy();
    done();
  };
  const limit = setTimeout(end, CANCEL_TIMEOUT_MS);
  const send = (over: Socket): void => {
    over.on('error', end);
    over.on('close', end);
    over.resume();
    over.write(request);
  };
  socket.on('error', end);
  socket.on('close', end);
  if (target.tls === 'off') {
    send(socket);
    return;
  }
  socket.write(SSL_REQUEST);
  socket.once('data', (answer: Buffer) => {
    // Only the key travels, and it is of no use to whoever does not reach the server: no certificate is checked.
    if (answer.toString('latin1') === 'S') {
      send(connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] }));
    } else if (target.tls === 'prefer') send(socket);
    else end();
  });
}
