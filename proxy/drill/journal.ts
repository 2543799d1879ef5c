import { z } from 'zod';
import { DRILL_KINDS } from '../../common/config/drills.ts';
import { keysOf } from '../../election/store/keys.ts';
import type { LeaseId, LeaseStore, StoreKey } from '../../election/store/port.ts';
import { decodeRecord, encodeRecord } from '../../election/store/records.ts';
import { ActionRefused } from '../admin/action-refused.ts';
import type { DrillReport, PastDrill } from './types.ts';

/** The drill that runs now. */
const runningRecord = z.object({
  id: z.string(),
  kind: z.enum(DRILL_KINDS),
  proxy: z.string(),
  by: z.string(),
  startedAt: z.string(),
  /** Somebody wants it to end. */
  abort: z.boolean(),
});
export type RunningDrill = z.output<typeof runningRecord>;

/** What tells a report from something else; only this program writes there. */
const reportRecord = z.looseObject({
  version: z.literal(1),
  id: z.string(),
  kind: z.enum(DRILL_KINDS),
  outcome: z.enum(['passed', 'failed', 'aborted']),
  startedAt: z.string(),
  endedAt: z.string(),
});

const CALL = { deadlineMs: 3000 };
/** A proxy that dies in mid-drill blocks others for so long. */
const LEASE_MS = 10_000;
const LOOK_EVERY_MS = 1000;
/** etcd takes values up to 1.5 MiB, and answers of 4 MiB; fifty of these are well below. */
const MAX_REPORT_BYTES = 64 * 1024;

export interface RunningLock {
  /** Aborts when somebody asked for it, and when the lock was lost. */
  readonly aborted: AbortSignal;
  release(): Promise<void>;
}

/** Drills in etcd: the one that runs (one in a cluster at a time), and reports of those that ran. All throw ActionRefused or StoreError. */
export class DrillJournal {
  readonly #store: LeaseStore;
  readonly #keys: ReturnType<typeof keysOf>;
  readonly #keep: number;

  constructor(store: LeaseStore, cluster: string, keep: number) {
    this.#store = store;
    this.#keys = keysOf(cluster);
    this.#keep = keep;
  }

  /** 409 when another one runs. */
  async begin(drill: RunningDrill): Promise<RunningLock> {
    const { runningDrill: key } = this.#keys;
    const { lease } = await this.#store.grantLease(LEASE_MS, CALL);
    const result = await this.#store.transact(
      {
        compare: [{ type: 'create-revision', key, equals: 0 }],
        then: [{ type: 'put', key, value: encodeRecord(runningRecord, drill), lease }],
        otherwise: [{ type: 'get', key }],
      },
      CALL,
    );
    if (!result.succeeded) {
      void this.#store.revokeLease(lease, CALL).catch(() => undefined);
      const other = this.#decode(result.gets[0]);
      const which = other === null ? 'another drill' : `${other.kind} (${other.id}, on ${other.proxy})`;
      throw new ActionRefused(409, `${which} is running: wait for it, or abort it`);
    }
    return this.#keepUp(lease, drill.id);
  }

  async running(): Promise<RunningDrill | null> {
    const key = this.#keys.runningDrill;
    const { gets } = await this.#store.transact({ compare: [], then: [{ type: 'get', key }] }, CALL);
    return this.#decode(gets[0]);
  }

  /** Tells whoever runs it. Null: none runs. */
  async requestAbort(): Promise<RunningDrill | null> {
    const key = this.#keys.runningDrill;
    const { gets } = await this.#store.transact({ compare: [], then: [{ type: 'get', key }] }, CALL);
    const stored = gets[0] ?? null;
    const drill = this.#decode(stored);
    if (drill === null || stored === null || stored.lease === null) return null;
    const value = encodeRecord(runningRecord, { ...drill, abort: true });
    const { succeeded } = await this.#store.transact(
      {
        compare: [{ type: 'mod-revision', key, equals: stored.modRevision }],
        then: [{ type: 'put', key, value, lease: stored.lease }],
      },
      CALL,
    );
    return succeeded ? drill : null;
  }

  /** Puts it down and drops the oldest beyond `drills.keep`. */
  async keep(report: DrillReport): Promise<void> {
    await this.#store.transact(
      { compare: [], then: [{ type: 'put', key: this.#keys.drill(report.id), value: bounded(report) }] },
      CALL,
    );
    const { keys } = await this.#store.readAll(this.#keys.drillsPrefix, CALL);
    // Ids begin with the time.
    const old = [...keys.keys()].sort().slice(0, Math.max(0, keys.size - this.#keep));
    if (old.length === 0) return;
    await this.#store.transact({ compare: [], then: old.map((key) => ({ type: 'delete', key })) }, CALL);
  }

  /** Newest first. */
  async list(): Promise<DrillReport[]> {
    const { keys } = await this.#store.readAll(this.#keys.drillsPrefix, CALL);
    return [...keys.values()]
      .sort((a, b) => (a.key < b.key ? 1 : -1))
      .map(({ value }) => decodeReport(value))
      .filter((report) => report !== null);
  }

  async show(id: string): Promise<DrillReport | null> {
    const key = this.#keys.drill(id);
    const { gets } = await this.#store.transact({ compare: [], then: [{ type: 'get', key }] }, CALL);
    const stored = gets[0] ?? null;
    return stored === null ? null : decodeReport(stored.value);
  }

  #decode(stored: StoreKey | null | undefined): RunningDrill | null {
    return stored === null || stored === undefined ? null : decodeRecord(runningRecord, stored.value);
  }

  #keepUp(lease: LeaseId, id: string): RunningLock {
    const abort = new AbortController();
    const look = async (): Promise<void> => {
      const running = await this.running();
      // After a pause of this process, or of etcd, another drill may have begun: two would break each other's canary.
      if (running === null || running.id !== id || running.abort) abort.abort();
      await this.#store.keepAlive(lease, CALL);
    };
    // What fails is tried again with the next turn.
    const timer = setInterval(() => void look().catch(() => undefined), LOOK_EVERY_MS);
    return {
      aborted: abort.signal,
      release: async () => {
        clearInterval(timer);
        await this.#store.revokeLease(lease, CALL).catch(() => undefined);
      },
    };
  }
}

export function pastOf(report: DrillReport): PastDrill {
  return {
    id: report.id,
    kind: report.kind,
    outcome: report.outcome,
    startedAtMs: Date.parse(report.startedAt),
    endedAtMs: Date.parse(report.endedAt),
    seconds: report.plan.seconds,
    what: report.plan.what,
    writeStallMs: report.outcome === 'aborted' ? null : report.writes.stallMs,
  };
}

/** What is least needed goes first. */
function bounded(report: DrillReport): string {
  const forms: DrillReport[] = [
    report,
    { ...report, series: { ...report.series, writes: [], reads: [], failed: [] } },
    { ...report, series: { ...report.series, writes: [], reads: [], failed: [] }, timeline: [] },
  ];
  const texts = forms.map((form) => JSON.stringify(form));
  return texts.find((text) => Buffer.byteLength(text) <= MAX_REPORT_BYTES) ?? (texts.at(-1) as string);
}

function decodeReport(text: string): DrillReport | null {
  return decodeRecord(reportRecord, text) as unknown as DrillReport | null;
}
