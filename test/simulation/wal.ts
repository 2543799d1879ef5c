/** One WAL record. Two copies of a record are the same object: content is compared by identity. */
export interface WalEntry {
  readonly timeline: number;
  readonly endLsn: bigint;
  readonly kind: 'init' | 'write' | 'term' | 'promote' | 'shutdown';
  /** `write`: the client's unique number; `term`: the term; else 0. */
  readonly value: number;
}

export interface TimelineEnd {
  readonly timeline: number;
  readonly endLsn: bigint;
}

/** What survives the death of the server. */
export interface Disk {
  kind: 'empty' | 'unfinished' | 'data';
  what: 'clone' | 'rewind' | 'initdb';
  systemId: string;
  timeline: number;
  /** The newest timeline whose history file this node has: a promotion takes the next one. */
  knownTimeline: number;
  /** The timeline of the latest checkpoint, as pg_control has it. */
  controlTimeline: number;
  history: readonly TimelineEnd[];
  wal: WalEntry[];
  /** Entries of `wal` that a crash leaves. */
  flushed: number;
  clean: boolean;
  /** Whether it was last run in recovery. */
  standby: boolean;
  syncNames: readonly string[];
  syncK: number;
  /** Replication slots: who may stream, and in which term. They go with the data directory. */
  slots: ReadonlySet<string>;
  /** The terms that this data directory has led, with nothing replaced since. */
  led: ReadonlySet<number>;
  /** Copies put aside when the data was replaced, by name. */
  readonly kept: Map<string, readonly WalEntry[]>;
}

export function emptyDisk(): Disk {
  return {
    kind: 'empty',
    what: 'initdb',
    systemId: '',
    timeline: 0,
    knownTimeline: 0,
    controlTimeline: 0,
    history: [],
    wal: [],
    flushed: 0,
    clean: true,
    standby: false,
    syncNames: [],
    syncK: 0,
    slots: new Set(),
    led: new Set(),
    kept: new Map(),
  };
}

export function lsnAt(disk: Disk, count: number): bigint {
  return count === 0 ? 0n : (disk.wal[count - 1]?.endLsn ?? 0n);
}

/**
 * Where a standby at (timeline, lsn) stands in this server's WAL, as PostgreSQL's walsender judges it: by timeline
 * and position only, not by content. Null: refused.
 */
export function streamFrom(server: Disk, timeline: number, lsn: bigint): number | null {
  if (timeline === server.timeline) {
    if (lsn > lsnAt(server, server.flushed)) return null;
  } else {
    const end = server.history.find((h) => h.timeline === timeline);
    if (end === undefined || lsn > end.endLsn) return null;
  }
  // Binary search for the first entry that ends after `lsn`.
  let low = 0;
  let high = server.flushed;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((server.wal[middle]?.endLsn ?? 0n) > lsn) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether the first `count` entries of a copy are this server's own. Content, which PostgreSQL does not compare. */
export function sharesContent(server: Disk, copy: Disk, count: number): boolean {
  return count === 0 || server.wal[count - 1] === copy.wal[count - 1];
}
