import type { Lsn } from '../common/lsn.ts';

/** Sizes of the headers at the start of a WAL page, and of a segment's first page (SizeOfXLogShortPHD, SizeOfXLogLongPHD). */
const PAGE_HEADER = 24n;
const SEGMENT_HEADER = 40n;

/**
 * The end of the last record inserted, from `pg_current_wal_insert_lsn()`. The two differ where the last record ends
 * at a page's boundary: the insert position then stands behind the header of the next page, into which nothing has
 * been written, while a follower that has replayed everything reports the boundary itself. Without this, an idle
 * follower would seem to lag for ever (XLogBytePosToRecPtr and XLogBytePosToEndRecPtr in PostgreSQL's xlog.c).
 * No record can end exactly behind a header, so nothing else is changed by it.
 */
export function leaderPosition(insertLsn: Lsn, walBlockSize: number, walSegmentSize: number): Lsn {
  if (insertLsn % BigInt(walSegmentSize) === SEGMENT_HEADER) return (insertLsn - SEGMENT_HEADER) as Lsn;
  const inSegment = insertLsn % BigInt(walSegmentSize);
  const onFirstPage = inSegment < BigInt(walBlockSize);
  if (!onFirstPage && insertLsn % BigInt(walBlockSize) === PAGE_HEADER) return (insertLsn - PAGE_HEADER) as Lsn;
  return insertLsn;
}
