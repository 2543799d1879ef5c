import type { Socket } from 'node:net';
import { ClientError } from '../../common/errors.ts';
import { acceptClient } from '../auth/accept.ts';
import type { AcceptedClient, VerifierSource } from '../auth/types.ts';
import { ConsoleCancel, isConsole, serveConsole } from '../admin/console.ts';
import type { MetricsRegistry } from '../admin/metrics.ts';
import type { AdminProviders, ProxyControl, StopMode } from '../admin/types.ts';
import type { Drills } from '../drill/runner.ts';
import type { SessionContext } from '../session/context.ts';
import type { Session } from '../session/session.ts';
import { bytesWrittenTo } from '../net/direct-socket.ts';
import { drainSessions } from './drain.ts';
import type { DisabledDatabases } from './operations.ts';
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
  readonly control: () => ProxyControl;
  readonly drills: Drills;
  readonly disabled: DisabledDatabases;
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
  #aside: NodeJS.Timeout | null = null;

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    const { cancelKeys: keys, config, lease, logger } = options.context;
    this.#router = new CancelRouter({ proxyId: config.id, keys, proxies: () => lease.view.proxies, logger });
    options.metrics.recorder.refresh = () => {
      for (const session of this.sessions) account(session);
    };
  }

  get clients(): number {
    return this.sessions.size + this.#others;
  }

  /** Connections that are still logging in. */
  get arriving(): number {
    return this.#strangers.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** A drill has it take no clients for a moment. */
  get standsAside(): boolean {
    return this.#aside !== null;
  }

  /**
   * A drill: ends all sessions, each between two transactions where `proxy.drainMs` allows, and lets nobody in until the time is
   * over. Its timer is this process's own: whoever asked for it need not live. 0 ends it now.
   */
  stepAside(ms: number): void {
    if (this.#aside !== null) clearTimeout(this.#aside);
    this.#aside = null;
    if (ms === 0 || this.#draining) return;
    this.#aside = setTimeout(() => {
      this.#aside = null;
    }, ms);
    this.#aside.unref();
    const { context } = this.#options;
    void drainSessions({
      sessions: this.sessions,
      arriving: () => 0,
      mode: () => 'transactions',
      leaveMs: 0,
      drainMs: () => Math.min(context.config.drainMs, ms),
      nowMs: () => context.clock.nowMs(),
    });
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

  /** The same of connections that may only bring cancel requests: the port for clients is a successor's. */
  onCancelConnection(socket: Socket): void {
    const { verifiers, auth, signal } = this.#options;
    const tls = auth.current.tls;
    void acceptClient(socket, { verifiers, tls, tlsRequired: false, signal, policy: auth.current.policy }).then(
      async (outcome) => {
        if (outcome.kind === 'client') outcome.socket.destroy();
        if (outcome.kind !== 'cancel') return;
        await this.#router.route(outcome);
        outcome.close();
      },
    );
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
        this.#options.metrics.connection('refused');
        context.logger.info({ event: 'client.refused', reason: outcome.reason }, 'client refused');
    }
  }

  async #serve(client: AcceptedClient, providers: AdminProviders): Promise<void> {
    const { context, metrics, signal, auth } = this.#options;
    // An error on a socket without a listener would end the process.
    client.socket.on('error', () => client.socket.destroy());
    if (isConsole(client.database) && client.replication === 'off') {
      await this.#console(client, providers);
      return;
    }
    const refusal = this.#refusal(client);
    if (refusal !== null) {
      metrics.connection('refused');
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

  async #console(client: AcceptedClient, providers: AdminProviders): Promise<void> {
    const { context, signal, drills } = this.#options;
    const control = this.#options.control();
    const { consoleUsers, statsUsers } = context.config;
    const rights = consoleUsers.includes(client.user) ? 'all' : statsUsers.includes(client.user) ? 'look' : 'none';
    const cancel = new ConsoleCancel();
    const key = context.cancelKeys.give(client.protocolMinor, (done) => {
      cancel.fire();
      done();
    });
    await this.#count(serveConsole(client, { providers, control, drills, rights, key, cancel, signal }));
    context.cancelKeys.revoke(key);
  }

  /** Null: the client may come in. */
  #refusal(client: AcceptedClient): ClientError | null {
    const { context, disabled } = this.#options;
    if (this.#aside !== null) return steppedAside();
    if (disabled.has(client.database)) return notAccepting(client.database);
    return tooManyClients(context.config, this.clients, this.sessions, client);
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
    const { context, metrics } = this.#options;
    metrics.connection('accepted');
    if (context.config.log.connections) {
      context.logger.info({ event: 'client.connected', ...describe(session) }, 'client connected');
    }
    this.sessions.add(session);
  }

  #forget(session: Session): void {
    account(session);
    const { config, logger } = this.#options.context;
    if (config.log.disconnections) {
      const seconds = Math.round((Date.now() - session.startedAt.getTime()) / 100) / 10;
      logger.info({ event: 'client.disconnected', ...describe(session), seconds }, 'client disconnected');
    }
    this.sessions.delete(session);
  }
}

function account({ activity, socket }: Session): void {
  activity.account(socket.bytesRead, bytesWrittenTo(socket));
}

function describe({ client, socket, processId, told }: Session): Record<string, unknown> {
  const { user, database, parameters } = client;
  return {
    id: processId,
    user,
    database,
    addr: socket.remoteAddress ?? null,
    port: socket.remotePort ?? null,
    application: told.get('application_name') ?? parameters.get('application_name') ?? '',
    tls: 'encrypted' in socket,
  };
}

function steppedAside(): ClientError {
  return new ClientError({
    sqlState: '57P03',
    severity: 'FATAL',
    message: 'this proxy takes no clients for a moment: a drill',
    hint: 'Connect to another proxy of the cluster.',
    safeToRetry: true,
  });
}

function notAccepting(database: string): ClientError {
  return new ClientError({
    sqlState: '55000',
    severity: 'FATAL',
    message: `database "${database}" is not currently accepting connections`,
    detail: 'An operator has disabled it on this proxy; ENABLE in the console ends that.',
    safeToRetry: true,
  });
}
