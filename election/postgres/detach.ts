import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalConnection } from './connection.ts';
import type { ServerContext } from './context.ts';
import { childrenOf, sendSignal, titleOf } from './processes.ts';

const QUERY_MS = 2000;
const POLL_MS = 1;
/** After this long, reads that block replay are ended: a pledge must not wait for them. */
const PATIENCE_MS = 150;

interface ReceiverState {
  readonly startup: number | null;
  readonly receiver: number | null;
  readonly pause: string;
  readonly received: string | null;
  /** Recovery has read all that it has and waits for more. */
  readonly idle: boolean;
}

const STATE_SQL = `
SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup') AS startup,
       (SELECT pid FROM pg_stat_wal_receiver) AS receiver,
       pg_get_wal_replay_pause_state() AS pause,
       pg_last_wal_receive_lsn()::text AS received,
       coalesce((SELECT wait_event = 'RecoveryRetrieveRetryInterval' FROM pg_stat_activity
                 WHERE backend_type = 'startup'), false) AS idle`;

/**
 * Takes the follower off its leader for good: when it resolves, no WAL receiver runs and none will be started, and
 * the flushed position is all that the node holds. `primary_conninfo` is '' in the settings that are already reloaded.
 *
 * The startup process starts receivers, by the conninfo that *it* last read. That it has read the new one is proven
 * by a pause of replay: it handles pending signals each time before it confirms a pause, so a confirmation that
 * follows the SIGHUP follows the reading (xlogrecovery.c, recoveryPausesHere). A receiver that it started before is
 * ended by it or by us, and not started again.
 */
export async function detachReceiver(
  context: ServerContext,
  connection: LocalConnection,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const first = await readState(connection, signal);
  if (first.startup === null) return; // out of recovery: nothing receives
  sendSignal(first.startup, 'SIGHUP');
  await connection.query('SELECT pg_wal_replay_pause()', [], { timeoutMs: QUERY_MS, signal });
  try {
    const confirmed = (state: ReceiverState) => state.pause === 'paused';
    await poll(context, connection, confirmed, started, signal);
  } finally {
    // Even after an abort: a follower whose replay stays paused would serve old data.
    await connection
      .query('SELECT pg_wal_replay_resume()', [], { timeoutMs: QUERY_MS })
      .catch(() => resumeAnew(context));
  }
  // Two looks, since a receiver that was asked for just before shows itself some milliseconds later.
  const gone = (state: ReceiverState) => state.receiver === null && receiverProcesses(context).length === 0;
  await poll(context, connection, gone, started, signal);
  await sleep(5, undefined, { signal });
  // Once this postmaster has streamed, the position is exact at once. Before, it is when local WAL is exhausted.
  const exact = (state: ReceiverState) => gone(state) && (state.received !== null || state.idle);
  await poll(context, connection, exact, started, signal);
}

/** Ends a pause of replay that an interrupted detach left behind. */
export async function resumeReplay(connection: LocalConnection, signal: AbortSignal): Promise<void> {
  await connection.query('SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery() AND pg_is_wal_replay_paused()', [], {
    timeoutMs: QUERY_MS,
    signal,
  });
}

async function resumeAnew(context: ServerContext): Promise<void> {
  if (context.postmaster.pid === null) return;
  try {
    const signal = AbortSignal.timeout(QUERY_MS);
    await using connection = await context.connect(signal);
    await resumeReplay(connection, signal);
  } catch (error) {
    context.logger.warn({ event: 'postgres.replay-paused', err: error }, 'replay may be left paused');
  }
}

async function poll(
  context: ServerContext,
  connection: LocalConnection,
  done: (state: ReceiverState) => boolean,
  started: number,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    context.requirePostmaster();
    const state = await readState(connection, signal);
    if (state.startup === null || done(state)) return;
    // The startup process ends its receiver only when it has replayed all that was received: not with a delay, or
    // behind a read that conflicts with replay.
    if (state.receiver !== null) sendSignal(state.receiver, 'SIGTERM');
    if (performance.now() - started > PATIENCE_MS) await endBlockingReads(connection, signal);
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function readState(connection: LocalConnection, signal: AbortSignal): Promise<ReceiverState> {
  return await connection.one<ReceiverState & object>(STATE_SQL, [], { timeoutMs: QUERY_MS, signal });
}

/** Only where replay waits for reads; 57P01 tells the proxy to run them elsewhere. */
async function endBlockingReads(connection: LocalConnection, signal: AbortSignal): Promise<void> {
  await connection.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
       AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'
                   AND (wait_event LIKE 'RecoveryConflict%' OR wait_event_type IN ('Lock', 'BufferPin')))`,
    [],
    { timeoutMs: QUERY_MS, signal },
  );
}

/** A receiver that has not yet shown itself in the view. */
function receiverProcesses(context: ServerContext): number[] {
  return childrenOf(context.requirePostmaster())
    .map((one) => one.pid)
    .filter((pid) => titleOf(pid).includes('walreceiver'));
}
