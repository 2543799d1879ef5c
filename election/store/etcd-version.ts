import type { Logger } from '../../common/logger.ts';
import type { EtcdCaller } from './etcd-call.ts';

/**
 * Returns a function that asks for etcd's version the first time it is called, and warns of versions that can serve
 * a stale read as a linearizable one after a pause (before 3.4.42 and 3.5.28; ELECTION.md, "Keys"). Decisions rest
 * on transactions with a write, so an old version is a risk for what people see, not for safety.
 */
export function warnOfOldEtcd(caller: EtcdCaller, logger: Logger, signal: AbortSignal): () => void {
  let asked = false;
  return () => {
    if (asked || signal.aborted) return;
    asked = true;
    void caller
      .call(
        { what: 'status', service: 'Maintenance', repeatable: true, run: (e, grpc) => e.maintenance.status(grpc) },
        { deadlineMs: 3000, signal },
      )
      .then(
        ({ version }) => {
          if (!isOldEtcd(version)) return;
          logger.warn(
            { event: 'store.old-etcd', version },
            `etcd ${version} can serve stale reads after a pause; use 3.4.42, 3.5.28 or newer`,
          );
        },
        () => {
          asked = false;
        },
      );
  };
}

/** `major.minor.patch`; an unreadable version counts as new. */
export function isOldEtcd(version: string): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [major = 0, minor = 0, patch = 0] = match.slice(1).map(Number);
  if (major !== 3) return major < 3;
  if (minor === 4) return patch < 42;
  if (minor === 5) return patch < 28;
  return minor < 4;
}
