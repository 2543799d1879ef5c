import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { LeaseholdError } from '../common/errors.ts';
import { openLocalState } from './agent/local-state.ts';
import { createOwnObjects } from './postgres/bootstrap.ts';
import type { LocalConnection } from './postgres/connection.ts';
import { NOBODY_RULE, type PostgresServerOptions, ServerContext } from './postgres/context.ts';
import { findProcesses } from './postgres/processes.ts';
import { launchServer } from './postgres/launch.ts';
import { inspectData } from './postgres/provision.ts';
import { AGENT_ROLE } from './postgres/settings.ts';

const STATEMENT_MS = 30_000;

/** What an operator should know before the adopted data goes into service. */
export interface Adopted {
  readonly dataDir: string;
  readonly systemId: string;
  /** Roles whose passwords are kept as md5, which SCRAM cannot check. */
  readonly md5Roles: readonly string[];
  /** Each copy of the data has its tablespaces at the same paths. */
  readonly tablespaces: readonly string[];
  /** False where the settings of before lie outside (Debian's /etc/postgresql), and are therefore not read any more. */
  readonly hasOwnConfig: boolean;
}

/**
 * Prepares data that PostgreSQL made without Leasehold to be the first copy of a new cluster: the agent's own role, by
 * single-user mode (which nobody's rules or passwords can be in the way of), then what agents and proxies log in with.
 * Everything else stays as it is. It may be repeated. Throws `LeaseholdError` (ADOPT) where the data cannot be taken.
 */
export async function adoptData(options: PostgresServerOptions, signal: AbortSignal): Promise<Adopted> {
  const context = new ServerContext(options);
  const { layout } = context;
  requireAtRest(context);
  const local = (await openLocalState(layout, context.user)).read();
  if (local.lineageTerm > 0n) {
    throw refused(
      `${layout.dataDir} is of a Leasehold cluster already (its term ${local.lineageTerm}): start its agent`,
    );
  }
  const data = await inspectData(context, signal);
  if (data.kind !== 'data') throw refused(`there is no complete PostgreSQL data in ${layout.dataDir}`);
  if (data.wasFollower) throw refused(`${layout.dataDir} is a standby's: promote it first, and stop it in order`);
  context.rule = { names: [], k: 0 };
  try {
    await createAgentRole(context, signal);
    await launchServer(context, signal, () => undefined);
    const told = await prepare(context, signal);
    await context.postmaster.stop('fast', signal);
    const hasOwnConfig = existsSync(join(layout.dataDir, 'postgresql.conf'));
    return { dataDir: layout.dataDir, systemId: data.systemId, hasOwnConfig, ...told };
  } finally {
    context.rule = NOBODY_RULE;
    if (context.postmaster.pid !== null) await context.postmaster.killAll();
  }
}

function requireAtRest({ layout, user }: ServerContext): void {
  const stat = statSync(layout.dataDir, { throwIfNoEntry: false });
  if (stat === undefined) throw refused(`there is no ${layout.dataDir}`);
  const running = findProcesses([layout.dataDir], stat.uid)[0];
  if (running !== undefined) {
    throw refused(`PostgreSQL runs in ${layout.dataDir} (pid ${running.pid}): stop it first`);
  }
  if (stat.uid !== user.uid) {
    throw refused(
      `${layout.dataDir} belongs to uid ${stat.uid}, but PostgreSQL would run as ${user.name} (${user.uid}): see agent.postgres.osUser, or run this as its owner`,
    );
  }
}

async function createAgentRole(context: ServerContext, signal: AbortSignal): Promise<void> {
  await context.writeFixedFiles();
  await context.writeSettings();
  const create = `DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${AGENT_ROLE}') THEN CREATE ROLE ${AGENT_ROLE} SUPERUSER LOGIN; END IF; END $$`;
  const check = `SELECT rolsuper AND rolcanlogin AS ready FROM pg_roles WHERE rolname = '${AGENT_ROLE}'`;
  const args = ['--single', ...context.serverArguments(), 'postgres'];
  const output = await context.run('postgres', args, signal, `${create}\n${check}\n`);
  if (!/ready = "t"/.test(output)) {
    throw refused(
      `the agent needs the role "${AGENT_ROLE}" as a superuser that may log in, and here it is something else: rename it (ALTER ROLE ${AGENT_ROLE} RENAME TO …)`,
    );
  }
}

async function prepare(
  context: ServerContext,
  signal: AbortSignal,
): Promise<Pick<Adopted, 'md5Roles' | 'tablespaces'>> {
  await using connection = await context.connect(signal);
  await createOwnObjects(context, connection, signal);
  const md5 = `SELECT rolname AS name FROM pg_authid WHERE rolcanlogin AND rolpassword LIKE 'md5%' ORDER BY 1`;
  const spaces = `SELECT spcname AS name FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1`;
  return {
    md5Roles: await names(connection, md5, signal),
    tablespaces: await names(connection, spaces, signal),
  };
}

async function names(connection: LocalConnection, sql: string, signal: AbortSignal): Promise<string[]> {
  const rows = await connection.query<{ name: string }>(sql, [], { timeoutMs: STATEMENT_MS, signal });
  return rows.map((row) => row.name);
}

function refused(message: string): LeaseholdError {
  return new LeaseholdError('ADOPT', message);
}
