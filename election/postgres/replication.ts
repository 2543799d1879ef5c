import { setTimeout as sleep } from 'node:timers/promises';
import type { Term } from '../../common/lsn.ts';
import type { LocalConnection } from './connection.ts';
import { NOBODY_RULE, type ServerContext, type SynchronousRule } from './context.ts';
import { PostgresNotRunning } from './errors.ts';
import type { PromotionResult } from './port.ts';
import { SLOT_PREFIX, slotName } from './settings.ts';

const QUERY_MS = 2000;
const POLL_MS = 2;
const PROBE_SQL = `BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'leasehold', ''); COMMIT`;

/** pg_promote without its own waiting (it polls at 100 ms), then until recovery has ended. */
export async function promoteServer(context: ServerContext, signal: AbortSignal): Promise<PromotionResult> {
  await using connection = await context.connect(signal);
  const options = { timeoutMs: QUERY_MS, signal };
  await connection.query('SELECT pg_promote(false)', [], options);
  for (;;) {
    const { recovering } = await connection.one<{ recovering: boolean }>(
      'SELECT pg_is_in_recovery() AS recovering',
      [],
      options,
    );
    if (!recovering) break;
    context.requirePostmaster();
    await sleep(POLL_MS, undefined, { signal });
  }
  // Clients are fenced out and autovacuum does not start its first worker within 100 ms, so nobody has taken an id.
  const row = await connection.one<{ next: string; file: string }>(
    `SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next, pg_walfile_name(pg_current_wal_lsn()) AS file`,
    [],
    options,
  );
  return { timeline: Number.parseInt(row.file.slice(0, 8), 16), nextXid: row.next };
}

/**
 * Brings `synchronous_standby_names` into force, in such a way that no process goes on by an older rule:
 *
 * - A WAL sender releases waiting commits by the rule that it has read itself. Its own membership is in shared memory
 *   (`sync_priority`), so a change of members shows when each has read it; a change of k alone would not. So a new k,
 *   while standbys are connected, goes through a rule that nobody meets: each sender shows 0, then 1.
 * - Whether commits wait at all is a flag that the checkpointer sets when *it* reads the file, which may take as long
 *   as a checkpoint's disk work. Coming from '' (k = 0) a probe must be seen to wait before the rule counts.
 */
export async function setSynchronousRule(
  context: ServerContext,
  next: SynchronousRule,
  signal: AbortSignal,
): Promise<void> {
  if (context.postmaster.pid === null) {
    context.rule = next;
    await context.writeSettingsIfThere();
    return;
  }
  await using connection = await context.connect(signal);
  const before = context.rule;
  const recovering = await isRecovering(connection, signal);
  const detour = next.k > 0 && before.k !== next.k && !recovering;
  if (detour) {
    context.rule = NOBODY_RULE;
    await context.reload(connection, signal);
    await waitForSenders(context, connection, NOBODY_RULE, signal);
    if (before.k === 0) await waitUntilCommitsWait(context, connection, signal);
  }
  context.rule = next;
  await context.reload(connection, signal);
  if (!recovering) await waitForSenders(context, connection, next, signal);
}

async function isRecovering(connection: LocalConnection, signal: AbortSignal): Promise<boolean> {
  const row = await connection.one<{ recovering: boolean }>('SELECT pg_is_in_recovery() AS recovering', [], {
    timeoutMs: QUERY_MS,
    signal,
  });
  return row.recovering;
}

/** Until each connected WAL sender of a standby shows by its priority that it goes by this rule. */
async function waitForSenders(
  context: ServerContext,
  connection: LocalConnection,
  rule: SynchronousRule,
  signal: AbortSignal,
): Promise<void> {
  const names = rule.k === 0 ? [] : rule.names;
  for (;;) {
    context.requirePostmaster();
    const row = await connection.one<{ behind: string }>(
      `SELECT count(*) AS behind FROM pg_stat_replication
       WHERE state IN ('streaming', 'catchup') AND (sync_priority > 0) <> (application_name = ANY($1))`,
      [names],
      { timeoutMs: QUERY_MS, signal },
    );
    if (row.behind === '0') return;
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** While nobody's acknowledgement counts, a commit that waits proves that the checkpointer has set the flag. */
async function waitUntilCommitsWait(
  context: ServerContext,
  connection: LocalConnection,
  signal: AbortSignal,
): Promise<void> {
  const probe = await context.connect(signal);
  try {
    const { pid } = await probe.one<{ pid: number }>('SELECT pg_backend_pid() AS pid', [], {
      timeoutMs: QUERY_MS,
      signal,
    });
    for (;;) {
      context.requirePostmaster();
      let returned = false;
      // A message that no one reads: a commit without any WAL of its own would not wait.
      const commit = probe
        .query(PROBE_SQL, [], {
          timeoutMs: 60_000,
          signal,
        })
        .then(
          () => {
            returned = true;
          },
          () => undefined,
        );
      while (!returned) {
        if (probe.closed) throw new PostgresNotRunning('the probe of synchronous commit lost its connection');
        const row = await connection.one<{ waits: boolean }>(
          `SELECT coalesce(bool_or(wait_event = 'SyncRep'), false) AS waits FROM pg_stat_activity WHERE pid = $1`,
          [pid],
          { timeoutMs: QUERY_MS, signal },
        );
        if (row.waits) return;
        await sleep(POLL_MS, undefined, { signal });
      }
      await commit;
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    probe.destroy();
  }
}

/**
 * Writes the term's row and waits until the quorum holds it. PostgreSQL's own answer is not taken for proof: a wait
 * that somebody cancels answers success with a warning, so the followers' flushed positions are read as well.
 */
export async function writeTermRow(
  context: ServerContext,
  term: Term,
  node: string,
  signal: AbortSignal,
): Promise<void> {
  await using connection = await context.connect(signal);
  const options = { timeoutMs: 2 ** 31 - 1, signal };
  const level = context.rule.k === 0 ? 'local' : 'on';
  await connection.query(
    `BEGIN; SET LOCAL synchronous_commit = ${level};
     INSERT INTO leasehold.term (term, node) VALUES (${term}, ${quoteLiteral(node)})
     ON CONFLICT (term) DO UPDATE SET node = excluded.node, at = now(); COMMIT`,
    [],
    options,
  );
  const { lsn } = await connection.one<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn', [], options);
  for (;;) {
    // The rule may have changed while the commit waited: it was acknowledged under the one in force now.
    const { names, k } = context.rule;
    if (k === 0) return;
    const { holders } = await connection.one<{ holders: string }>(
      `SELECT count(DISTINCT application_name) AS holders FROM pg_stat_replication
       WHERE application_name = ANY($1) AND flush_lsn >= $2::pg_lsn`,
      [names, lsn],
      { timeoutMs: QUERY_MS, signal },
    );
    if (Number(holders) >= k) return;
    context.requirePostmaster();
    await sleep(POLL_MS, undefined, { signal });
  }
}

function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/**
 * Slots reserve nothing until a follower first streams from them. A lost one, which nobody can use any more, is made anew.
 * Whoever streams by a slot that goes is cut off first.
 */
export async function ensureSlots(
  context: ServerContext,
  term: Term,
  nodes: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await using connection = await context.connect(signal);
  const options = { timeoutMs: QUERY_MS, signal };
  const wanted = new Set(nodes.filter((node) => node !== context.node).map((node) => slotName(term, node)));
  const rows = await connection.query<{ name: string; pid: number | null; lost: boolean | null }>(
    `SELECT slot_name AS name, active_pid AS pid, wal_status = 'lost' AS lost
     FROM pg_replication_slots WHERE slot_type = 'physical' AND left(slot_name, ${SLOT_PREFIX.length}) = $1`,
    [SLOT_PREFIX],
    options,
  );
  for (const { name, pid, lost } of rows) {
    if (wanted.has(name) && (pid !== null || lost !== true)) wanted.delete(name);
    else await dropSlot(context, connection, { name, pid }, signal);
  }
  for (const name of wanted) await connection.query('SELECT pg_create_physical_replication_slot($1)', [name], options);
}

async function dropSlot(
  context: ServerContext,
  connection: LocalConnection,
  slot: { readonly name: string; readonly pid: number | null },
  signal: AbortSignal,
): Promise<void> {
  const options = { timeoutMs: QUERY_MS, signal };
  if (slot.pid !== null) {
    await connection.query('SELECT pg_terminate_backend($1)', [slot.pid], options);
    for (;;) {
      const [row] = await connection.query<{ active: boolean }>(
        'SELECT active FROM pg_replication_slots WHERE slot_name = $1',
        [slot.name],
        options,
      );
      if (row?.active !== true) break;
      context.requirePostmaster();
      await sleep(POLL_MS, undefined, { signal });
    }
  }
  await connection.query('SELECT pg_drop_replication_slot($1)', [slot.name], options);
}
