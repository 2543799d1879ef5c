import { mustLead } from './admission.ts';
import type { SimContext } from './context.ts';
import type { Done, SimPostgres } from './postgres.ts';
import { type Disk, emptyDisk, lsnAt, type WalEntry } from './wal.ts';

/** The programs that fill a data directory: children of the agent, they die with it. `alive` says whether it still lives. */
interface Program {
  readonly context: SimContext;
  readonly target: SimPostgres;
  readonly alive: () => boolean;
}

/** initdb. */
export function initialise({ context, target, alive }: Program, systemId: string, done: Done): void {
  if (target.running || target.disk.kind === 'data') return done({ ok: false, error: 'there is data' });
  Object.assign(target.disk, emptyDisk(), { kind: 'unfinished', what: 'initdb' } satisfies Partial<Disk>);
  context.scheduler.after(context.random.between(200, 500), () => {
    if (!alive()) return;
    const first: WalEntry = { timeline: 1, endLsn: 64n, kind: 'init', value: 0 };
    const fresh = { kind: 'data', systemId, timeline: 1, knownTimeline: 1, controlTimeline: 1 } satisfies Partial<Disk>;
    Object.assign(target.disk, emptyDisk(), fresh, { wal: [first], flushed: 1 });
    done({ ok: true, value: undefined });
  });
}

/** pg_basebackup into a directory beside the data, swapped in at the end. A failure leaves what was there. */
export function clone(program: Program, source: SimPostgres, keepAs: string | null, done: Done): void {
  const { context, target, alive } = program;
  if (target.running) return done({ ok: false, error: 'the server runs' });
  const life = source.process.life;
  if (!reachable(context, target, source, life)) return done({ ok: false, error: 'source not reachable' });
  mustLead(context, target.node, source);
  context.scheduler.after(context.random.between(100, 600), () => {
    if (!alive()) return;
    if (!reachable(context, target, source, life)) return done({ ok: false, error: 'source lost' });
    const { disk } = target;
    if (keepAs !== null && !disk.kept.has(keepAs)) disk.kept.set(keepAs, disk.wal.slice(0, disk.flushed));
    else context.erases(target.node, disk.wal.slice(0, disk.flushed), source);
    copyInto(disk, source.disk);
    done({ ok: true, value: undefined });
  });
}

/**
 * pg_rewind. It compares the timeline ids first, and takes the source's from its control file, which only a checkpoint
 * after a promotion brings up to date: equal ids mean that nothing is done.
 */
export function rewind({ context, target, alive }: Program, source: SimPostgres, done: Done): void {
  if (target.running || target.disk.kind !== 'data')
    return done({ ok: false, error: 'not a stopped server with data' });
  const life = source.process.life;
  if (!reachable(context, target, source, life)) return done({ ok: false, error: 'source not reachable' });
  mustLead(context, target.node, source);
  const { random, scheduler } = context;
  scheduler.after(random.between(20, 60), () => {
    if (!alive()) return;
    if (source.disk.controlTimeline === target.disk.timeline) return done({ ok: true, value: undefined });
    if (random.chance(0.1)) return done({ ok: false, error: 'WAL of the common past is gone' });
    target.disk.kind = 'unfinished';
    target.disk.what = 'rewind';
    scheduler.after(random.between(80, 400), () => {
      if (!alive()) return;
      if (!reachable(context, target, source, life)) return done({ ok: false, error: 'source lost' });
      context.erases(target.node, target.disk.wal.slice(0, target.disk.flushed), source);
      copyInto(target.disk, source.disk);
      done({ ok: true, value: undefined });
    });
  });
}

function reachable(context: SimContext, target: SimPostgres, source: SimPostgres, life: number): boolean {
  return (
    source.process.active &&
    source.ready &&
    source.door.open &&
    source.process.life === life &&
    context.network.bothWays(target.node, source.node)
  );
}

function copyInto(target: Disk, source: Disk): void {
  const wal: WalEntry[] = source.wal.slice(0, source.flushed);
  Object.assign(target, {
    kind: 'data',
    systemId: source.systemId,
    timeline: source.timeline,
    knownTimeline: source.knownTimeline,
    controlTimeline: source.timeline,
    history: source.history,
    wal,
    flushed: wal.length,
    clean: false,
    standby: true,
    slots: new Set(),
    led: new Set(),
  } satisfies Partial<Disk>);
}

/** CHECKPOINT: pg_control names the timeline from here on. */
export function checkpoint(server: SimPostgres, done: Done): void {
  server.perform(10, 80, done, () => {
    server.disk.controlTimeline = server.disk.timeline;
    return undefined;
  });
}

/** What `pg_controldata` and the files of a data directory say. Null for one without data. */
export function controlData(disk: Disk): { readonly timeline: number; readonly checkpointLsn: bigint } {
  // A shutdown checkpoint's location is where its record begins.
  const last = disk.wal[disk.flushed - 1];
  const back = disk.clean && last?.kind === 'shutdown' ? 1 : Math.min(5, disk.flushed);
  return { timeline: disk.timeline, checkpointLsn: lsnAt(disk, Math.max(0, disk.flushed - back)) };
}
