import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createBootstrapObjects } from './bootstrap.ts';
import { type ControlData, parseControlData } from './control-data.ts';
import { NOBODY_RULE, type ServerContext } from './context.ts';
import { PostgresEnvironmentError, RewindFailed } from './errors.ts';
import { handOver, removeDurably, syncFolder, writeFileDurably } from './files.ts';
import type { DataDirectory, PeerAddress } from './port.ts';
import { peerConninfo, renderConninfo } from './settings.ts';

type Unfinished = 'initdb' | 'rewind';

export async function inspectData(context: ServerContext, signal: AbortSignal): Promise<DataDirectory> {
  const { layout } = context;
  const marker = (await readFile(layout.markerFile, 'utf8').catch(() => '')).trim();
  if (marker === 'initdb' || marker === 'rewind') return { kind: 'unfinished', what: marker };
  if (await isEmpty(layout.dataDir)) {
    // Killed between the two renames of a clone: the old directory is still beside.
    return existsSync(layout.replacedDir) ? { kind: 'unfinished', what: 'clone' } : { kind: 'empty' };
  }
  const control = await readControlData(context, signal);
  return {
    kind: 'data',
    systemId: control.systemId,
    timeline: control.timeline,
    cleanShutdown: control.cleanShutdown,
    checkpointLsn: control.checkpointLsn,
    wasFollower: existsSync(join(layout.dataDir, 'standby.signal')),
  };
}

export async function readControlData(context: ServerContext, signal: AbortSignal): Promise<ControlData> {
  return parseControlData(await context.run('pg_controldata', ['-D', context.layout.dataDir], signal));
}

/** initdb, configuration, roles, databases. A marker tells an interrupted one, of which nothing is worth keeping. */
export async function initialiseData(
  context: ServerContext,
  start: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { layout } = context;
  const found = await inspectData(context, signal);
  if (found.kind === 'data' || (found.kind === 'unfinished' && found.what !== 'initdb')) {
    throw new PostgresEnvironmentError(`${layout.dataDir} is not empty: a new cluster is only made in an empty folder`);
  }
  await mark(context, 'initdb');
  await rm(layout.dataDir, { recursive: true, force: true });
  const locale = process.platform === 'linux' ? 'C.UTF-8' : 'C';
  const common = ['--encoding=UTF8', `--locale=${locale}`, '--data-checksums', '--username=leasehold'];
  const login = ['--auth-local=peer', '--auth-host=scram-sha-256'];
  await makeDataDir(context);
  await context.run('initdb', ['-D', layout.dataDir, ...common, ...login], signal);
  context.rule = { names: [], k: 0 };
  try {
    await start(signal);
    await createBootstrapObjects(context, signal);
    await context.postmaster.stop('fast', signal);
  } finally {
    context.rule = NOBODY_RULE;
    if (context.postmaster.pid !== null) await context.postmaster.killAll();
  }
  await unmark(context);
}

/** PostgreSQL's user makes the data directory itself: where it may not, we make it and hand it over. */
async function makeDataDir(context: ServerContext): Promise<void> {
  await mkdir(context.layout.dataDir, { mode: 0o700 });
  await handOver(context.layout.dataDir, context.user);
}

/** pg_basebackup beside the data directory, then swapped in by two renames; the marker of a broken rewind goes last. */
export async function cloneData(
  context: ServerContext,
  from: PeerAddress,
  keepAs: string | null,
  signal: AbortSignal,
): Promise<void> {
  const { layout } = context;
  await rm(layout.cloneDir, { recursive: true, force: true });
  const source = renderConninfo({
    ...peerConninfo(from, context.options.agent.replication, layout.passFile),
    application_name: `${context.node} clone`,
    connect_timeout: 5,
  });
  const how = ['--wal-method=stream', '--checkpoint=fast', '--no-password'];
  await context.run('pg_basebackup', ['-D', layout.cloneDir, '-d', source, ...how], signal);
  await writeFileDurably(join(layout.cloneDir, 'standby.signal'), '', context.user);
  signal.throwIfAborted();
  if (keepAs !== null) await keepAside(context, keepAs);
  if (existsSync(layout.dataDir)) {
    // An old `replaced` is only there if an earlier swap was finished or its data directory is gone: keep the latter.
    if (!(await isEmpty(layout.dataDir))) await rm(layout.replacedDir, { recursive: true, force: true });
    if (existsSync(layout.replacedDir)) await rm(layout.dataDir, { recursive: true, force: true });
    else await renameFolder(layout.dataDir, layout.replacedDir);
  }
  await renameFolder(layout.cloneDir, layout.dataDir);
  await syncFolder(dirname(layout.dataDir));
  await unmark(context);
  await removeDurably(layout.replacedDir);
}

/** What is in the data directory goes to `kept/<name>`. Once only: what has come since then came from a leader after that. */
async function keepAside(context: ServerContext, name: string): Promise<void> {
  const { layout, user } = context;
  const kept = join(layout.keptDir, name);
  if (existsSync(kept) || (await isEmpty(layout.dataDir))) return;
  await mkdir(layout.keptDir, { recursive: true, mode: 0o700 });
  await handOver(layout.keptDir, user);
  await renameFolder(layout.dataDir, kept);
  await syncFolder(layout.keptDir);
  await syncFolder(dirname(layout.dataDir));
  context.logger.warn(
    { event: 'rejoin.kept', folder: kept },
    `data that a forced failover went on without is kept in ${kept}: remove it when nothing in it is missed`,
  );
}

async function renameFolder(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    throw new PostgresEnvironmentError(
      `${from} cannot be renamed to ${to}: dataDir must be a folder below a mounted volume, not the volume itself`,
      error,
    );
  }
}

/**
 * pg_rewind from the peer. The server must have been shut down cleanly; where it was not, `recover` starts it as a
 * follower of nobody and stops it, since pg_rewind's own single-user recovery refuses a directory with standby.signal.
 * What fails or ends before the directory is written to leaves it as it was; after that the marker stays.
 */
export async function rewindData(
  context: ServerContext,
  from: PeerAddress,
  recover: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { layout } = context;
  try {
    if (!(await readControlData(context, signal)).cleanShutdown) await recover(signal);
    const source = renderConninfo({
      ...peerConninfo(from, context.options.agent.replication, layout.passFile),
      dbname: 'postgres',
      application_name: `${context.node} rewind`,
      connect_timeout: 5,
    });
    const target = ['--target-pgdata', layout.dataDir, '--config-file', layout.configFile];
    const rewind = [...target, '--source-server', source];
    // A source that cannot be reached, or WAL that is gone, is found before anything is touched: the copy stays one.
    await context.run('pg_rewind', ['--dry-run', ...rewind], signal);
    await mark(context, 'rewind');
    await context.run('pg_rewind', rewind, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new RewindFailed(error instanceof Error ? error.message : 'pg_rewind failed', error);
  }
  await rm(join(layout.dataDir, 'postmaster.pid'), { force: true });
  await writeFileDurably(join(layout.dataDir, 'standby.signal'), '', context.user);
  await unmark(context);
}

async function isEmpty(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.length === 0;
}

async function mark(context: ServerContext, what: Unfinished): Promise<void> {
  await writeFileDurably(context.layout.markerFile, what, context.user);
}

async function unmark(context: ServerContext): Promise<void> {
  await removeDurably(context.layout.markerFile);
}
