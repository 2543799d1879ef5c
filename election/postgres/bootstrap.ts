import { escapeIdentifier, escapeLiteral } from 'pg';
import type { LocalConnection } from './connection.ts';
import type { ServerContext } from './context.ts';

const STATEMENT_MS = 30_000;

/** What pg_rewind reads the source's files with (https://www.postgresql.org/docs/current/app-pgrewind.html). */
const REWIND_FUNCTIONS = [
  'pg_ls_dir(text, boolean, boolean)',
  'pg_stat_file(text, boolean)',
  'pg_read_binary_file(text)',
  'pg_read_binary_file(text, bigint, bigint, boolean)',
];

/** What a new cluster has: our own objects, and the roles and databases of the configuration. Followers get them by cloning. */
export async function createBootstrapObjects(context: ServerContext, signal: AbortSignal): Promise<void> {
  await using connection = await context.connect(signal);
  await createOwnObjects(context, connection, signal);
  const { superuserPassword, roles, databases } = context.options.agent.bootstrap;
  if (superuserPassword !== undefined) {
    const attributes = 'LOGIN SUPERUSER CREATEDB CREATEROLE REPLICATION';
    await createRole(connection, signal, 'postgres', attributes, superuserPassword);
  }
  for (const role of roles) await createRole(connection, signal, role.name, 'LOGIN', role.password);
  for (const database of databases) {
    if (database.name === 'postgres') continue;
    const create = `CREATE DATABASE ${escapeIdentifier(database.name)} OWNER ${escapeIdentifier(database.owner)}`;
    await connection.query(create, [], { timeoutMs: STATEMENT_MS, signal });
  }
}

/** The roles that agents and proxies log in with, and our schema. May be repeated: what is there gets the configured passwords. */
export async function createOwnObjects(
  context: ServerContext,
  connection: LocalConnection,
  signal: AbortSignal,
): Promise<void> {
  const { agent, service } = context.options;
  const run = (text: string) => connection.query(text, [], { timeoutMs: STATEMENT_MS, signal });

  const replication = escapeIdentifier(agent.replication.user);
  await createRole(connection, signal, agent.replication.user, 'LOGIN REPLICATION', agent.replication.password);
  for (const name of REWIND_FUNCTIONS) await run(`GRANT EXECUTE ON FUNCTION pg_catalog.${name} TO ${replication}`);

  await createRole(connection, signal, service.user, 'LOGIN', service.password);
  const serviceRole = escapeIdentifier(service.user);
  await run(`GRANT pg_monitor, pg_signal_backend TO ${serviceRole}`);
  // The verifiers with which proxies check who logs in (DESIGN.md, "Who logs in").
  await run(`GRANT SELECT ON pg_catalog.pg_authid TO ${serviceRole}`);

  await run('CREATE SCHEMA IF NOT EXISTS leasehold');
  await run(
    'CREATE TABLE IF NOT EXISTS leasehold.term (term bigint PRIMARY KEY, node text NOT NULL, at timestamptz NOT NULL DEFAULT now())',
  );
  await run(`GRANT USAGE ON SCHEMA leasehold TO ${serviceRole}`);
  await run(`GRANT SELECT ON leasehold.term TO ${serviceRole}`);
}

/** The server turns the password into a SCRAM verifier; statements are not logged at this point. */
async function createRole(
  connection: LocalConnection,
  signal: AbortSignal,
  name: string,
  attributes: string,
  password: string,
): Promise<void> {
  const existing = await connection.query('SELECT FROM pg_roles WHERE rolname = $1', [name], {
    timeoutMs: STATEMENT_MS,
    signal,
  });
  const verb = existing.length === 0 ? 'CREATE' : 'ALTER';
  await connection.query(
    `${verb} ROLE ${escapeIdentifier(name)} ${attributes} PASSWORD ${escapeLiteral(password)}`,
    [],
    { timeoutMs: STATEMENT_MS, signal },
  );
}
