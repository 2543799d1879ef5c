import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { cancelRequest, SSL_REQUEST } from '../wire/encode.ts';

const CANCEL_TIMEOUT_MS = 5_000;

/**
 * Asks a server to cancel what the connection with this key does. Calls `done` once, when the server has closed the
 * connection (it has then signalled the backend) or when that took too long. Whether anything was cancelled is never told.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
export function sendCancelRequest(
  target: { readonly host: string; readonly port: number; readonly tls: boolean },
  key: { readonly processId: number; readonly secretKey: Buffer },
  done: () => void,
): void {
  const request = cancelRequest(key.processId, key.secretKey);
  const socket = connect({ host: target.host, port: target.port });
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    socket.destroy();
    done();
  };
  socket.setTimeout(CANCEL_TIMEOUT_MS, end);
  socket.on('error', end);
  socket.on('close', end);
  if (!target.tls) {
    socket.resume();
    socket.write(request);
    return;
  }
  socket.write(SSL_REQUEST);
  socket.once('data', (answer: Buffer) => {
    // Only the key travels, and it is of no use to whoever does not reach the server: no certificate is checked.
    if (answer.toString('latin1') !== 'S') return end();
    const secure = connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] });
    secure.on('error', end);
    secure.on('close', end);
    secure.resume();
    secure.write(request);
  });
}
