import { loginToBackend } from '../auth/backend-login.ts';
import type { AcceptedClient, BackendLogin, BackendTarget } from '../auth/types.ts';
import { sendCancelRequest } from '../pool/cancel.ts';
import type { SessionContext } from '../session/context.ts';
import { asClientError } from '../session/errors.ts';
import { backendKeyData, errorResponse, parameterStatus, READY_IDLE } from '../wire/encode.ts';

/** Parameters of the client's start-up packet that the log-in sets itself. */
const OWN = new Set(['user', 'database', 'replication']);

/**
 * A replication connection: one to one with the leader, byte for byte, for as long as its term lasts. Never rejects; the
 * sockets are closed when it resolves.
 */
export async function pipeReplication(
  context: SessionContext,
  client: AcceptedClient,
  tls: BackendTarget['tls'],
  signal: AbortSignal,
): Promise<void> {
  const { socket } = client;
  let login: BackendLogin;
  let term: bigint;
  let at: { readonly host: string; readonly port: number };
  try {
    const pass = await context.gate.enter(signal);
    term = pass.term;
    at = { host: pass.host, port: pass.port };
    pass.leave(); // it may last for days: a planned hold does not wait for it
    const parameters = new Map([...client.parameters].filter(([name]) => !OWN.has(name)));
    login = await loginToBackend(
      {
        ...at,
        user: client.user,
        database: client.database,
        credentials: context.pools.proofOf(client.user, client.credentials),
        parameters,
        tls,
        replication: client.replication === 'physical' ? 'physical' : 'database',
      },
      { signal, connectTimeoutMs: context.config.pool.connectTimeoutMs },
    );
  } catch (error) {
    socket.end(errorResponse(asClientError(error)));
    return;
  }
  for (const [name, value] of login.parameters) socket.write(parameterStatus(name, value));
  const key = context.cancelKeys.give(client.protocolMinor, (done) => {
    sendCancelRequest({ ...at, tls: 'encrypted' in login.socket ? 'require' : 'off' }, login, done);
  });
  socket.write(backendKeyData(key.processId, key.secretKey));
  socket.write(READY_IDLE);
  await pipe(context, client, login, term, signal);
  context.cancelKeys.revoke(key);
}

function pipe(
  context: SessionContext,
  client: AcceptedClient,
  login: BackendLogin,
  term: bigint,
  signal: AbortSignal,
): Promise<void> {
  const { socket } = client;
  const server = login.socket;
  return new Promise((resolve) => {
    const end = (): void => {
      stop();
      signal.removeEventListener('abort', end);
      socket.destroy();
      server.destroy();
      resolve();
    };
    const stop = context.lease.subscribe(() => {
      if ((context.lease.view.route?.term ?? 0n) > term) end();
    });
    signal.addEventListener('abort', end, { once: true });
    for (const each of [socket, server]) {
      each.on('error', end);
      each.on('close', end);
    }
    socket.pipe(server);
    server.pipe(socket);
  });
}
