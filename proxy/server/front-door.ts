import type { Socket } from 'node:net';
import { acceptClient } from '../auth/accept.ts';
import type { AcceptedClient, VerifierSource } from '../auth/types.ts';
import { CONSOLE_DATABASE, serveConsole } from '../admin/console.ts';
import type { MetricsRegistry } from '../admin/metrics.ts';
import type { AdminProviders } from '../admin/types.ts';
import type { SessionContext } from '../session/context.ts';
import type { Session } from '../session/session.ts';
import type { StopMode } from '../admin/types.ts';
import { drainSessions } from './drain.ts';
import { errorResponse } from '../wire/encode.ts';
import { CancelRouter } from './cancel-routing.ts';
import { tooManyClients } from './client-limits.ts';
import type { LiveAuth } from './live-auth.ts';
import { openSession } from './open-session.ts';
import { pipeReplication } from './replication-pipe.ts';

export interface FrontDoorOptions {
  readonly context: SessionContext;
  readonly verifiers: VerifierSource;
  readonly auth: LiveAuth;
  readonly metrics: MetricsRegistry;
  /** Aborted when everything ends at once. */
  readonly signal: AbortSignal;
}

/** Connections that are still authenticating do not count as clients, but they are not without bound either. */
const MAX_STRANGERS = 1_000;

/** Who is in: takes connections, tells clients from the console, replication and cancel requests, and counts them. */
export class FrontDoor {
  readonly sessions = new Set<Session>();
  readonly #options: FrontDoorOptions;
  readonly #router: CancelRouter;
  readonly #strangers = new Set<Socket>();
  #others = 0;
  #draining = false;

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    const { cancelKeys: keys, config, lease, logger } = options.context;
    this.#router = new CancelRouter({ proxyId: config.id, keys, proxies: () => lease.view.proxies, logger });
  }

  get clients(): number {
    return this.sessions.size + this.#others;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** `local`: over the Unix socket. Takes the socket over. */
  onConnection(socket: Socket, local: boolean, providers: AdminProviders): void {
    this.#strangers.add(socket);
    if (this.#strangers.size > MAX_STRANGERS) this.#dropOldestStranger();
    void this.#accept(socket, local, providers);
  }

  /** Who does not get on with its start-up makes room for who comes now: else a thousand idle connections would shut the door. */
  #dropOldestStranger(): void {
    for (const oldest of this.#strangers) {
      this.#strangers.delete(oldest);
      oldest.destroy();
      return;
    }
  }

  /**
   * Ends sessions as `mode` says, which is asked again and again; resolves when none is left. Who was accepted before the port
   * was closed is still served. `leaveMs`: see `drainSessions`.
   */
  async drain(mode: () => StopMode, leaveMs: number): Promise<void> {
    this.#draining = true;
    const { clock } = this.#options.context;
    await drainSessions({
      sessions: this.sessions,
      arriving: () => this.#strangers.size,
      mode,
      leaveMs,
      drainMs: () => this.#options.context.config.drainMs,
      nowMs: () => clock.nowMs(),
    });
  }

  async #accept(socket: Socket, local: boolean, providers: AdminProviders): Promise<void> {
    const { verifiers, auth, context, signal } = this.#options;
    const { tls, policy } = auth.current;
    const tlsRequired = context.config.tls?.required ?? false;
    const timeoutMs = context.config.timeouts.clientLoginTimeoutMs;
    const outcome = await acceptClient(socket, { verifiers, tls, tlsRequired, local, policy, signal, timeoutMs });
    if (outcome.kind === 'cancel') {
      await this.#router.route(outcome);
      outcome.close();
    }
    this.#strangers.delete(socket);
    switch (outcome.kind) {
      case 'cancel':
        return;
      case 'client':
        await this.#serve(outcome, providers);
        return;
      case 'refused':
        context.logger.info({ event: 'client.refused', reason: outcome.reason }, 'client refused');
    }
  }

  async #serve(client: AcceptedClient, providers: AdminProviders): Promise<void> {
    const { context, metrics, signal, auth } = this.#options;
    const { config } = context;
    // An error on a socket without a listener would end the process.
    client.socket.on('error', () => client.socket.destroy());
    if (client.database === CONSOLE_DATABASE && client.replication === 'off') {
      const allowed = config.consoleUsers.includes(client.user);
      const key = context.cancelKeys.give(client.protocolMinor, (done) => done());
      const options = { allowed, served: (node: string) => metrics.served(node), key, signal };
      await this.#count(serveConsole(client, providers, options));
      context.cancelKeys.revoke(key);
      return;
    }
    const refusal = tooManyClients(config, this.clients, this.sessions, client);
    if (refusal !== null) {
      client.socket.end(errorResponse(refusal));
      return;
    }
    if (client.replication !== 'off') {
      await this.#count(pipeReplication(context, client, auth.current.serverTls, signal));
      return;
    }
    await openSession(
      context,
      client,
      (session) => this.#register(session),
      (session) => this.#forget(session),
    );
  }

  async #count(work: Promise<void>): Promise<void> {
    this.#others += 1;
    try {
      await work;
    } finally {
      this.#others -= 1;
    }
  }

  #register(session: Session): void {
    this.sessions.add(session);
  }

  #forget(session: Session): void {
    this.sessions.delete(session);
  }
}
