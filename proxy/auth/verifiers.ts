import { setTimeout } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { Client, DatabaseError } from 'pg';
import { GuardedSocket } from '../../common/guarded-socket.ts';
import type { Clock } from '../../common/clock.ts';
import type { ServiceConfig } from '../../common/config/schema.ts';
import { ClientError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { abortError } from './handshake.ts';
import { parseVerifier } from './scram.ts';
import type { DefaultsSource, Md5Hash, RoleDefaults, RoleFacts, ScramVerifier, VerifierSource } from './types.ts';

export interface VerifierSourceOptions {
  readonly service: ServiceConfig;
  /** Whom to ask, in this order: the leader, then usable followers. At most the first four are asked. */
  readonly servers: () => readonly { readonly host: string; readonly port: number }[];
  readonly tls: ConnectionOptions | false;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For one server to answer; then the next is asked. */
  readonly timeoutMs?: number;
}

/** What is asked about a user: null is a proper answer. */
interface Question<T> {
  readonly kind: string;
  readonly sql: string;
  readonly read: (rows: readonly Record<string, unknown>[]) => T | null;
}

/** `now()`: what expired is unknown. A role without LOGIN, too. */
const PASSWORD: Question<ScramVerifier | Md5Hash> = {
  kind: 'password',
  sql: `SELECT rolpassword FROM pg_catalog.pg_authid
  WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())`,
  read: ([row]) => passwordOf((row?.['rolpassword'] ?? null) as string | null),
};

/** Memberships as pg_hba.conf counts them: inherited or not, and no superuser is a member of all. */
const ROLE: Question<RoleFacts> = {
  kind: 'role',
  sql: `WITH RECURSIVE known (oid) AS (
      SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1
      UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN known ON m.member = known.oid)
    SELECT r.rolname, r.rolname = $1 AS itself, r.rolcanlogin FROM known JOIN pg_catalog.pg_roles r USING (oid)`,
  read: (rows) => {
    const self = rows.find(({ itself }) => itself === true);
    if (self === undefined) return null;
    return { canLogin: self['rolcanlogin'] === true, memberOf: new Set(rows.map(({ rolname }) => String(rolname))) };
  },
};

/** In the order of process_settings (src/backend/utils/init/postinit.c). One row at least, for the role of the server. */
const DEFAULTS: Question<RoleDefaults> = {
  kind: 'defaults',
  sql: `SELECT pg_catalog.pg_is_in_recovery() AS recovery, d.datname, s.setconfig FROM (SELECT) AS one
    LEFT JOIN (pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase)
      ON s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)) AND (s.setdatabase = 0 OR d.oid IS NOT NULL)
  ORDER BY s.setrole <> 0, s.setdatabase <> 0`,
  read: (rows) => ({
    fromLeader: rows[0]?.['recovery'] === false,
    rows: rows
      .filter(({ setconfig }) => setconfig !== null)
      .map(({ datname, setconfig }) => ({ database: datname as string | null, settings: setconfig as string[] })),
  }),
};

function passwordOf(text: string | null): ScramVerifier | Md5Hash | null {
  if (text !== null && /^md5[0-9a-f]{32}$/.test(text)) return { kind: 'md5-hash', hash: text };
  return parseVerifier(text);
}

const MAX_REMEMBERED = 10_000;
const REMEMBER_MS = 300_000;
const MAX_SERVERS = 4;

/**
 * Every login asks a server, over one connection that stays open (about 0.2 ms), so that a changed password or a
 * dropped role counts at once: the salt is part of the exchange, and an exchange begun with an outdated verifier
 * cannot be saved. Clients that log in as the same user at the same moment share a question. What was read last is
 * remembered for five minutes and used only while no server answers: reads outlive a lost leader, so must logins.
 */
export function createVerifierSource(options: VerifierSourceOptions): VerifierSource & DefaultsSource {
  const connections = new Map<string, Client>();
  const asking = new Map<string, Promise<unknown>>();
  const remembered = new Map<string, { readonly answer: unknown; readonly atMs: number }>();
  let closed = false;

  async function ask<T>(question: Question<T>, user: string): Promise<T | null> {
    const key = keyOf(question, user);
    const problems: string[] = [];
    for (const server of options.servers().slice(0, MAX_SERVERS)) {
      const address = `${server.host}:${server.port}`;
      try {
        const rows = await askServer(address, server, question.sql, user);
        const answer = question.read(rows);
        remember(key, answer);
        return answer;
      } catch (error) {
        const problem = error instanceof Error ? error.message : String(error);
        problems.push(`${address}: ${problem}`);
        options.logger.warn(
          { event: 'verifiers.failed', address, problem },
          'a server was asked for a verifier in vain',
        );
      }
    }
    const last = remembered.get(key);
    if (last !== undefined && options.clock.nowMs() - last.atMs < REMEMBER_MS) return last.answer as T;
    throw nobodyToAsk(problems);
  }

  async function askServer(
    address: string,
    server: { readonly host: string; readonly port: number },
    sql: string,
    user: string,
  ): Promise<Record<string, unknown>[]> {
    const client = connections.get(address) ?? open(address, server);
    try {
      return (await client.query<Record<string, unknown>>(sql, [user])).rows;
    } catch (error) {
      // After a time-out the connection's state is unknown; after an error of the server's it is good.
      if (!(error instanceof DatabaseError)) drop(address, client);
      throw error;
    }
  }

  /** `query` waits for the connection by itself: pg queues what comes before, and fails it when the connection does. */
  function open(address: string, server: { readonly host: string; readonly port: number }): Client {
    for (const [old, client] of connections) if (connections.size >= 2 * MAX_SERVERS) drop(old, client);
    const timeoutMs = options.timeoutMs ?? 1000;
    const client = new Client({
      stream: () => new GuardedSocket(),
      ...server,
      user: options.service.user,
      password: options.service.password,
      database: 'postgres',
      application_name: 'leasehold verifiers',
      ssl: options.tls,
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
      keepAlive: true,
    });
    connections.set(address, client);
    client.on('error', () => drop(address, client));
    client.on('end', () => drop(address, client));
    client.connect().catch(() => drop(address, client));
    return client;
  }

  function drop(address: string, client: Client): void {
    if (connections.get(address) !== client) return;
    connections.delete(address);
    client.end().catch(() => {});
  }

  function remember(key: string, answer: unknown): void {
    remembered.delete(key);
    // Guessed names must not push out real ones.
    if (answer === null) return;
    remembered.set(key, { answer, atMs: options.clock.nowMs() });
    if (remembered.size > MAX_REMEMBERED) remembered.delete(remembered.keys().next().value as string);
  }

  async function answerTo<T>(question: Question<T>, user: string, signal: AbortSignal): Promise<T | null> {
    if (closed) throw nobodyToAsk(['this proxy is stopping']);
    const key = keyOf(question, user);
    let answer = asking.get(key) as Promise<T | null> | undefined;
    if (answer === undefined) {
      answer = ask(question, user).finally(() => asking.delete(key));
      asking.set(key, answer);
    }
    return abortable(answer, signal);
  }

  return {
    lookup: (user, signal) => answerTo(PASSWORD, user, signal),
    role: (user, signal) => answerTo(ROLE, user, signal),
    defaults: async (user, signal) => (await answerTo(DEFAULTS, user, signal)) as RoleDefaults,
    async close() {
      closed = true;
      const all = [...connections.values()];
      connections.clear();
      // A server that does not answer must not keep the proxy from stopping.
      await Promise.race([
        Promise.allSettled(all.map((client) => client.end())),
        setTimeout(1000, null, { ref: false }),
      ]);
    },
  };
}

function keyOf(question: Question<unknown>, user: string): string {
  return `${question.kind} ${user}`;
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(abortError(signal));
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function nobodyToAsk(problems: readonly string[]): ClientError {
  return new ClientError({
    sqlState: '57P03',
    severity: 'FATAL',
    message: 'no server can be asked who may log in',
    detail: problems.length === 0 ? 'No leader and no usable follower is known.' : problems.join('; '),
    hint: 'Try again; see `leasehold status`.',
    safeToRetry: true,
  });
}
