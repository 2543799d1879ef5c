import type { Lsn } from '../../common/lsn.ts';
import type { PostgresSample } from '../../election/postgres/port.ts';
import type { SimPostgres } from './postgres.ts';
import { lsnAt } from './wal.ts';

/** What the server says of itself. */
export function sampleOf(server: SimPostgres): PostgresSample {
  const { disk } = server;
  const flushed = server.recovery && !server.received ? Math.min(server.replayed, disk.flushed) : disk.flushed;
  const streaming = server.receiver?.streaming ?? false;
  return {
    pid: server.pid,
    version: '17.0',
    systemId: disk.systemId,
    inRecovery: server.recovery,
    timeline: disk.timeline,
    flushedLsn: (lsnAt(disk, flushed) + BigInt(server.received ? server.partialBytes : 0)) as Lsn,
    replayedLsn: lsnAt(disk, Math.min(server.replayed, disk.flushed)) as Lsn,
    receiver: {
      running: server.receiver !== null,
      streaming,
      fromHost: streaming ? (server.receiver?.leader.node ?? null) : null,
      fromPort: streaming ? 5432 : null,
    },
    standbys: [...server.senders].map(([node, sender]) => ({
      node,
      state: 'streaming',
      flushedLsn: lsnAt(disk, sender.acknowledged) as Lsn,
      replayedLsn: lsnAt(disk, sender.replayed) as Lsn,
      isSync: disk.syncNames.includes(node),
    })),
    synchronousStandbyNames:
      disk.syncNames.length === 0 ? '' : `ANY ${disk.syncK} (${disk.syncNames.map((n) => `"${n}"`).join(', ')})`,
    history: disk.history.map((h) => ({ timeline: h.timeline, endLsn: h.endLsn as Lsn })),
  };
}
