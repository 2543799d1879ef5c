import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Lsn, NO_LSN, parseLsn } from '../../common/lsn.ts';
import type { PostgresSample } from './port.ts';

/** One round trip. Works on PostgreSQL 15 to 18, in recovery and out of it. */
export const SAMPLE_SQL = `
SELECT json_build_object(
  'version', current_setting('server_version'),
  'systemId', (SELECT system_identifier::text FROM pg_control_system()),
  'segmentBytes', pg_size_bytes(current_setting('wal_segment_size')),
  'inRecovery', r.recovering,
  'walFile', CASE WHEN r.recovering THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,
  'controlTimeline', greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                              (SELECT min_recovery_end_timeline FROM pg_control_recovery())),
  'flushed', CASE WHEN r.recovering THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_flush_lsn() END,
  'replayed', CASE WHEN r.recovering THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END,
  'receiver', (SELECT json_build_object('status', status, 'host', sender_host, 'port', sender_port,
                                        'timeline', received_tli) FROM pg_stat_wal_receiver),
  'standbys', (SELECT coalesce(json_agg(json_build_object(
                 'node', application_name, 'state', state, 'flushed', flush_lsn, 'replayed', replay_lsn,
                 'sync', sync_state)), '[]') FROM pg_stat_replication),
  'synchronous', current_setting('synchronous_standby_names')
) AS sample
FROM (SELECT pg_is_in_recovery() AS recovering) r`;

export interface RawSample {
  readonly version: string;
  readonly systemId: string;
  readonly segmentBytes: number;
  readonly inRecovery: boolean;
  readonly walFile: string | null;
  readonly controlTimeline: number;
  readonly flushed: string | null;
  readonly replayed: string | null;
  readonly receiver: {
    readonly status: string | null;
    readonly host: string | null;
    readonly port: number | null;
    readonly timeline: number | null;
  } | null;
  readonly standbys: readonly {
    readonly node: string;
    readonly state: string | null;
    readonly flushed: string | null;
    readonly replayed: string | null;
    readonly sync: string | null;
  }[];
  readonly synchronous: string;
}

export type TimelineHistory = readonly { readonly timeline: number; readonly endLsn: Lsn }[];

/** Reads what a follower's timeline depends on from pg_wal. History files never change, so they are kept. */
export class TimelineReader {
  readonly #walDir: string;
  #kept: { readonly timeline: number; readonly history: TimelineHistory } | null = null;

  constructor(dataDir: string) {
    this.#walDir = join(dataDir, 'pg_wal');
  }

  /** The newest timeline of which this server holds the segment that `lsn` lies in; 0 for none. */
  async newestWith(lsn: Lsn, segmentBytes: number): Promise<number> {
    if (lsn === NO_LSN) return 0;
    const suffix = segmentSuffix(lsn - 1n, BigInt(segmentBytes));
    let newest = 0;
    for (const name of await readdir(this.#walDir)) {
      if (name.length === 24 && name.endsWith(suffix)) newest = Math.max(newest, Number.parseInt(name.slice(0, 8), 16));
    }
    return newest;
  }

  async history(timeline: number): Promise<TimelineHistory> {
    if (timeline <= 1) return [];
    if (this.#kept?.timeline === timeline) return this.#kept.history;
    const file = join(this.#walDir, `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`);
    const text = await readFile(file, 'utf8').catch(() => null);
    if (text === null) return [];
    const history = parseHistory(text);
    this.#kept = { timeline, history };
    return history;
  }
}

/** The last 16 digits of the name of the WAL file that holds the byte. */
export function segmentSuffix(byte: bigint, segmentBytes: bigint): string {
  const number = byte / segmentBytes;
  const perFile = 0x1_0000_0000n / segmentBytes;
  const hex = (value: bigint) => value.toString(16).toUpperCase().padStart(8, '0');
  return `${hex(number / perFile)}${hex(number % perFile)}`;
}

/** A timeline's history file: `parent, end of parent, reason` a line, oldest first. */
export function parseHistory(text: string): TimelineHistory {
  const history: { timeline: number; endLsn: Lsn }[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match !== null) history.push({ timeline: Number(match[1]), endLsn: parseLsn(match[2] as string) });
  }
  return history;
}

/**
 * The timeline on which `lsn` really lies. A follower that has begun to receive timeline 3 starts at the beginning of
 * a segment, below the fork: up to the fork it holds nothing that timeline 2 does not, and must not outrank a node
 * that holds more of timeline 2. So a position at or below a fork counts as the parent's.
 */
export function timelineOf(lsn: Lsn, newest: number, history: TimelineHistory): number {
  for (const entry of history) {
    if (lsn <= entry.endLsn) return entry.timeline;
  }
  return newest;
}

/**
 * Makes a sample of what the server told. `pg_last_wal_receive_lsn` is null until this postmaster has streamed, and
 * stands at the start of a segment when streaming begins anew, below what is long on disk: hence the greatest of it and
 * the replayed position. Until recovery has read all of the local WAL that is still too low: `follow(null)` waits for that.
 */
export async function toSample(raw: RawSample, pid: number, reader: TimelineReader): Promise<PostgresSample> {
  const flushedLsn = toLsn(raw.flushed);
  const { timeline, history } = await findTimeline(raw, flushedLsn, reader);
  return {
    pid,
    version: raw.version,
    systemId: raw.systemId,
    inRecovery: raw.inRecovery,
    timeline,
    flushedLsn,
    replayedLsn: toLsn(raw.replayed),
    receiver: {
      running: raw.receiver !== null,
      streaming: raw.receiver?.status === 'streaming',
      fromHost: raw.receiver?.host ?? null,
      fromPort: raw.receiver?.port ?? null,
    },
    standbys: raw.standbys.map((standby) => ({
      node: standby.node,
      state: standby.state ?? 'unknown',
      flushedLsn: toLsn(standby.flushed),
      replayedLsn: toLsn(standby.replayed),
      isSync: standby.sync === 'sync' || standby.sync === 'quorum',
    })),
    synchronousStandbyNames: raw.synchronous,
    history,
  };
}

async function findTimeline(
  raw: RawSample,
  flushedLsn: Lsn,
  reader: TimelineReader,
): Promise<{ readonly timeline: number; readonly history: TimelineHistory }> {
  if (raw.walFile !== null) {
    const timeline = Number.parseInt(raw.walFile.slice(0, 8), 16);
    return { timeline, history: await reader.history(timeline) };
  }
  const onDisk = await reader.newestWith(flushedLsn, raw.segmentBytes);
  const newest = Math.max(raw.controlTimeline, raw.receiver?.timeline ?? 0, onDisk);
  const history = await reader.history(newest);
  const timeline = timelineOf(flushedLsn, newest, history);
  return { timeline, history: history.filter((entry) => entry.timeline < timeline) };
}

function toLsn(text: string | null): Lsn {
  return text === null ? NO_LSN : parseLsn(text);
}
