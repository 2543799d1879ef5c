import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { GuardedSocket } from '../common/guarded-socket.ts';
import { LeaseholdError } from '../common/errors.ts';
import { type Lsn, NO_LSN, parseLsn } from '../common/lsn.ts';
import type { Running, Shown } from './settled.ts';
import type { ProbeSample } from './types.ts';

/** A node could not be connected to, or refused the probe. */
export class ProbeError extends LeaseholdError {
  constructor(message: string, cause?: unknown) {
    super('PROBE', message, cause);
  }
}

/** A refusal in the server's own words: it is there, whatever it thinks of us. */
export function isAnswer(error: unknown): boolean {
  return error instanceof pg.DatabaseError || (error instanceof ProbeError && error.cause instanceof pg.DatabaseError);
}

export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly tls: ConnectionOptions | undefined;
  readonly connectTimeoutMs: number;
}

/** One connection to one node, asked one question at a time. */
export interface Probe {
  /**
   * Throws ProbeError, or whatever the connection was lost with. `nowMs` is read when the request is sent and answered. A follower is asked
   * which of the leader's running transactions it shows.
   */
  sample(nowMs: () => number, running: Running | null): Promise<ProbeSample>;
  /** Makes a leader flush its WAL up to now. Quietly does nothing where the server refuses. */
  flush(): Promise<void>;
  close(): void;
}

/** Ids from the leader's upper end on; more are a transaction with very many savepoints, and are waited for. */
const MAX_NAMED = 10_000;

/**
 * Asked of leader and follower alike, in one round trip: which one it is may have changed since the last time. The
 * server decides between functions that raise an error in the other role. pg_stat_wal_receiver shows its columns to
 * members of pg_read_all_stats only (pg_monitor is one).
 *
 * The leader's snapshot does not name transactions from its upper end on, though they may be running: a follower is asked about all that it
 * knows from there to its own upper end. txid_status fails for what lies beyond that. (On a standby a snapshot names no running ones at all.)
 */
const SAMPLE_SQL = `
SELECT r.recovering::text,
       CASE WHEN NOT r.recovering THEN pg_current_wal_insert_lsn()::text END,
       CASE WHEN NOT r.recovering THEN pg_current_wal_flush_lsn() ELSE pg_last_wal_receive_lsn() END::text,
       r.replayed::text,
       CASE WHEN NOT r.recovering THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END,
       w.received_tli::text,
       w.status,
       CASE WHEN NOT r.recovering THEN txid_current_snapshot()::text END,
       CASE WHEN r.recovering THEN r.ended::text END,
       CASE WHEN r.recovering AND r.ended - $2::bigint <= ${MAX_NAMED} THEN (
         SELECT string_agg(xid::text, ',')
         FROM (SELECT unnest($1::bigint[]) UNION ALL SELECT generate_series($2::bigint, r.ended - 1)) AS asked (xid)
         WHERE CASE WHEN xid < r.ended THEN txid_status(xid) = 'committed' ELSE false END) END
FROM (SELECT pg_is_in_recovery() AS recovering, txid_snapshot_xmax(txid_current_snapshot()) AS ended,
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END AS replayed OFFSET 0) r
LEFT JOIN pg_stat_wal_receiver w ON true`;

/**
 * The tail of the WAL that belongs to no commit (an open transaction's rows, pruning by reads) is flushed by nobody,
 * hence sent to nobody, until somebody commits (XLogBackgroundFlush in PostgreSQL's xlog.c). A transactional message
 * is the smallest record whose commit flushes; synchronous_commit = local, so that it waits for no follower.
 */
const FLUSH_SQL = "SELECT pg_logical_emit_message(true, 'leasehold', '')";

/** Once for each connection: fixed while the server runs, but for the restart point's timeline, which only grows. */
const IDENTITY_SQL = `
SELECT s.system_identifier::text, i.wal_block_size::text, i.bytes_per_wal_segment::text, c.timeline_id::text
FROM pg_control_system() s, pg_control_init() i, pg_control_checkpoint() c`;

/** Connects. `onLost` is called once if the connection ends by itself, as soon as this is known. The caller closes it. */
export async function openProbe(target: ProbeTarget, onLost: (reason: string) => void): Promise<Probe> {
  const client = new pg.Client({
    host: target.host,
    port: target.port,
    user: target.user,
    password: target.password,
    database: 'postgres',
    application_name: 'leasehold monitor',
    connectionTimeoutMillis: target.connectTimeoutMs,
    keepAlive: true,
    stream: () => new GuardedSocket(),
    ...(target.tls === undefined ? {} : { ssl: target.tls }),
  });
  let over = false;
  const lost = (reason: string) => {
    if (over) return;
    over = true;
    onLost(reason);
  };
  client.on('error', (error) => lost(`connection lost: ${error.message}`));
  client.on('end', () => lost('connection closed by the server'));
  const close = () => {
    over = true;
    // With a query under way this destroys the socket; it cannot hang on a node that does not answer.
    client.end().catch(() => undefined);
  };
  try {
    await client.connect();
    const { rows } = await client.query<string[]>({ text: IDENTITY_SQL, rowMode: 'array' });
    const [systemId = '', walBlockSize, walSegmentSize, restartTimeline] = rows[0] ?? [];
    const identity = {
      systemId,
      walBlockSize: Number(walBlockSize),
      walSegmentSize: Number(walSegmentSize),
      restartTimeline: Number(restartTimeline),
    };
    await client.query('SET synchronous_commit = local');
    return {
      sample: (nowMs, running) => sampleOnce(client, identity, nowMs, running),
      flush: () => flushOnce(client),
      close,
    };
  } catch (error) {
    close();
    throw new ProbeError(`cannot be asked: ${(error as Error).message}`, error);
  }
}

interface Identity {
  readonly systemId: string;
  readonly walBlockSize: number;
  readonly walSegmentSize: number;
  readonly restartTimeline: number;
}

async function sampleOnce(
  client: pg.Client,
  identity: Identity,
  nowMs: () => number,
  asked: Running | null,
): Promise<ProbeSample> {
  const sentAtMs = nowMs();
  const values = [asked === null ? null : `{${asked.xids.join()}}`, asked?.xmax.toString() ?? null];
  const query = { name: 'sample', text: SAMPLE_SQL, values, rowMode: 'array' } as const;
  const { rows } = await client.query<(string | null)[]>(query);
  const answeredAtMs = nowMs();
  const [recovering, insert, flushed, replayed, writtenTimeline, receivedTimeline, status, snapshot, ended, named] =
    rows[0] ?? [];
  const inRecovery = recovering === 'true';
  const replayedLsn = lsnOr(replayed, NO_LSN);
  return {
    sentAtMs,
    answeredAtMs,
    systemId: identity.systemId,
    inRecovery,
    insertLsn: lsnOr(insert, NO_LSN),
    flushedLsn: lsnOr(flushed, replayedLsn),
    replayedLsn,
    timeline: inRecovery ? numberOrNull(receivedTimeline) : Number.parseInt(writtenTimeline ?? '0', 16),
    restartTimeline: identity.restartTimeline,
    streaming: status === 'streaming',
    walBlockSize: identity.walBlockSize,
    walSegmentSize: identity.walSegmentSize,
    running: snapshot === null || snapshot === undefined ? null : { sentAtMs, ...parseSnapshot(snapshot) },
    shown: asked === null || !inRecovery ? null : { asked, committed: namedOf(asked, ended, named) },
  };
}

/** `xmin:xmax:xid,xid`. */
function parseSnapshot(text: string): Pick<Running, 'xmax' | 'xids'> {
  const [, xmax = '0', xids = ''] = text.split(':');
  return { xmax: BigInt(xmax), xids: numbers(xids) };
}

function namedOf(
  asked: Running,
  ended: string | null | undefined,
  named: string | null | undefined,
): Shown['committed'] {
  if (ended === null || ended === undefined || BigInt(ended) - asked.xmax > MAX_NAMED) return null;
  return numbers(named ?? '');
}

function numbers(text: string): bigint[] {
  return text === '' ? [] : text.split(',').map(BigInt);
}

async function flushOnce(client: pg.Client): Promise<void> {
  try {
    await client.query({ name: 'flush', text: FLUSH_SQL });
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
  }
}

function lsnOr(text: string | null | undefined, otherwise: Lsn): Lsn {
  return text === null || text === undefined ? otherwise : parseLsn(text);
}

/** A receiver that has just started shows 0 for a moment. */
function numberOrNull(text: string | null | undefined): number | null {
  const value = Number(text ?? 0);
  return value > 0 ? value : null;
}
