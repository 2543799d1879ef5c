import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerContext } from './context.ts';
import { PostgresStartFailed } from './errors.ts';
import { AGENT_ROLE } from './settings.ts';

const QUERY_MS = 2000;

/**
 * Starts the postmaster with the settings of the context and waits until it accepts the agent's own connections. Throws
 * `PostgresStartFailed`, with nothing left running.
 */
export async function launchServer(context: ServerContext, signal: AbortSignal, onExit: () => void): Promise<void> {
  await context.writeFixedFiles();
  await context.writeSettings();
  // Lock files of a server that is proven gone: their pid may be another process's by now, which would stop the start.
  const socket = join(context.layout.socketDir, `.s.PGSQL.${context.options.agent.listen.port}`);
  for (const file of [join(context.layout.dataDir, 'postmaster.pid'), socket, `${socket}.lock`]) {
    await rm(file, { force: true });
  }
  context.postmaster.spawn(context.binDir, context.serverArguments(), onExit);
  try {
    await waitUntilReady(context, signal);
  } catch (error) {
    await context.postmaster.killAll();
    throw error;
  }
}

async function waitUntilReady(context: ServerContext, signal: AbortSignal): Promise<void> {
  for (let round = 0; ; round++) {
    if (context.postmaster.pid === null) {
      const complaints = context.postmaster.complaints();
      throw new PostgresStartFailed(`PostgreSQL did not start: ${complaints || `see ${context.layout.logFile}`}`);
    }
    try {
      await using connection = await context.connect(signal);
      await connection.query('SELECT', [], { timeoutMs: QUERY_MS, signal });
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      if (lacksOurRole(error)) throw new PostgresStartFailed(notOurs(context.layout.dataDir), error);
      await sleep(Math.min(5 + round, 50), undefined, { signal });
    }
  }
}

/** The server's own words, which are English: `lc_messages` is ours. */
function lacksOurRole(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && cause.message === `role "${AGENT_ROLE}" does not exist`;
}

function notOurs(dataDir: string): string {
  return `the data in ${dataDir} has no role ${AGENT_ROLE}, so Leasehold has not made it: stop this agent and prepare the data with \`leasehold adopt\``;
}
