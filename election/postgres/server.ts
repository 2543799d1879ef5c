import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Term } from '../../common/lsn.ts';
import type { LocalConnection } from './connection.ts';
import { NOBODY_RULE, type PostgresServerOptions, ServerContext } from './context.ts';
import { detachReceiver, resumeReplay } from './detach.ts';
import { PostgresStartFailed } from './errors.ts';
import { writeFileDurably } from './files.ts';
import { launchServer } from './launch.ts';
import type {
  DataDirectory,
  PeerAddress,
  PostgresSample,
  PostgresServer,
  PromotionResult,
  StartOptions,
} from './port.ts';
import { childrenOf, sendSignal, titleOf } from './processes.ts';
import { cloneData, initialiseData, inspectData, rewindData } from './provision.ts';
import { ensureSlots, promoteServer, setSynchronousRule, writeTermRow } from './replication.ts';
import { type RawSample, SAMPLE_SQL, TimelineReader, toSample } from './sampling.ts';
import { AGENT_ROLE } from './settings.ts';

const SAMPLE_MS = 300;
const QUERY_MS = 2000;
/** A checkpoint writes all that is dirty; its end is the caller's to bound. */
const CHECKPOINT_MS = 600_000;

/** The server of this machine. Throws `PostgresEnvironmentError` where the machine lacks something. */
export function createPostgresServer(options: PostgresServerOptions): PostgresServer {
  return new LocalPostgres(new ServerContext(options));
}

class LocalPostgres implements PostgresServer {
  readonly #context: ServerContext;
  readonly #listeners: (() => void)[] = [];
  readonly #timelines: TimelineReader;
  #sampler: LocalConnection | null = null;
  #expelled = false;
  /** Changes of the settings file happen one after the other, whoever asks for them. */
  #settings: Promise<void> = Promise.resolve();

  constructor(context: ServerContext) {
    this.#context = context;
    this.#timelines = new TimelineReader(context.layout.dataDir);
  }

  get postmasterPid(): number | null {
    return this.#context.postmaster.pid;
  }

  onExit(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async inspect(signal: AbortSignal): Promise<DataDirectory> {
    await this.#prepare(signal);
    return await inspectData(this.#context, signal);
  }

  async initialise(signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    const start = (startSignal: AbortSignal) => launchServer(this.#context, startSignal, () => undefined);
    await initialiseData(this.#context, start, signal);
  }

  async clone(from: PeerAddress, keepAs: string | null, signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    await this.stop('immediate', signal);
    await this.#context.writeFixedFiles();
    await cloneData(this.#context, from, keepAs, signal);
  }

  async rewind(from: PeerAddress, signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    await this.stop('fast', signal);
    await this.#context.writeFixedFiles();
    await this.#context.writeSettings();
    const recover = async (recoverSignal: AbortSignal) => {
      await this.start({ role: 'follower', peer: null }, recoverSignal);
      await this.stop('fast', recoverSignal);
    };
    await rewindData(this.#context, from, recover, signal);
  }

  async start(options: StartOptions, signal: AbortSignal): Promise<void> {
    await this.#prepare(signal);
    if (this.postmasterPid !== null) throw new PostgresStartFailed('PostgreSQL runs already');
    const context = this.#context;
    const standby = join(context.layout.dataDir, 'standby.signal');
    await rm(join(context.layout.dataDir, 'recovery.signal'), { force: true });
    if (options.role === 'follower') {
      if (!existsSync(standby)) await writeFileDurably(standby, '', context.user);
      // Whatever it was as a leader: nothing is acknowledged here until somebody says whose word counts.
      context.rule = NOBODY_RULE;
    } else {
      await rm(standby, { force: true });
    }
    context.peer = options.role === 'follower' ? options.peer : null;
    context.leads = options.role === 'leader';
    context.open = false;
    await launchServer(context, signal, () => this.#exited());
  }

  async openToClients(open: boolean, signal: AbortSignal): Promise<void> {
    const context = this.#context;
    await this.#serially(async () => {
      context.open = open;
      if (this.postmasterPid === null) return context.writeSettingsIfThere();
      await using connection = await context.connect(signal);
      await context.reload(connection, signal);
      if (!open) await this.#endClients(connection, signal);
    });
  }

  async stop(mode: 'fast' | 'immediate', signal: AbortSignal): Promise<void> {
    this.#dropSampler();
    await this.#context.postmaster.stop(mode, signal);
  }

  async killNow(): Promise<void> {
    this.#dropSampler();
    await this.#context.postmaster.killAll();
  }

  async follow(peer: PeerAddress | null, signal: AbortSignal): Promise<void> {
    const context = this.#context;
    if (this.postmasterPid === null) {
      await this.#serially(() => {
        context.peer = peer;
        return context.writeSettingsIfThere();
      });
      return;
    }
    await using connection = await context.connect(signal);
    await this.#serially(() => {
      context.peer = peer;
      return context.reload(connection, signal);
    });
    if (peer === null) await detachReceiver(context, connection, signal);
    else await resumeReplay(connection, signal);
  }

  /** Followers are admitted while recovery ends: nobody waits for it. */
  async promote(signal: AbortSignal): Promise<PromotionResult> {
    this.#context.requirePostmaster();
    const [result] = await Promise.all([promoteServer(this.#context, signal), this.#admitFollowers(signal)]);
    return result;
  }

  async #admitFollowers(signal: AbortSignal): Promise<void> {
    const context = this.#context;
    await using connection = await context.connect(signal);
    await this.#serially(() => {
      context.leads = true;
      return context.reload(connection, signal);
    });
  }

  setSynchronous(names: readonly string[], k: number, signal: AbortSignal): Promise<void> {
    return this.#serially(() => setSynchronousRule(this.#context, { names, k }, signal));
  }

  writeTermRow(term: Term, node: string, signal: AbortSignal): Promise<void> {
    return writeTermRow(this.#context, term, node, signal);
  }

  ensureSlots(term: Term, nodes: readonly string[], signal: AbortSignal): Promise<void> {
    return ensureSlots(this.#context, term, nodes, signal);
  }

  async checkpoint(signal: AbortSignal): Promise<void> {
    await using connection = await this.#context.connect(signal);
    await connection.query('CHECKPOINT', [], { timeoutMs: CHECKPOINT_MS, signal });
  }

  async sample(signal: AbortSignal): Promise<PostgresSample | null> {
    const pid = this.postmasterPid;
    if (pid === null) return null;
    try {
      if (this.#sampler === null || this.#sampler.closed) {
        this.#sampler = await this.#context.connect(signal, SAMPLE_MS);
      }
      const { sample } = await this.#sampler.one<{ sample: RawSample }>(SAMPLE_SQL, [], {
        timeoutMs: SAMPLE_MS,
        signal,
      });
      return this.postmasterPid === pid ? await toSample(sample, pid, this.#timelines) : null;
    } catch (error) {
      this.#dropSampler();
      if (signal.aborted) throw error;
      this.#context.logger.debug({ event: 'postgres.sample-failed', err: error }, 'PostgreSQL gave no sample');
      return null;
    }
  }

  /** The first thing in every agent's life: folders, and nothing left over from an agent before it. */
  async #prepare(signal: AbortSignal): Promise<void> {
    if (this.#expelled) return;
    await this.#context.prepareFolders();
    const { foundAny } = await this.#context.postmaster.expelStrangers(signal);
    if (foundAny) {
      this.#context.logger.warn(
        { event: 'postgres.expelled' },
        'stopped a PostgreSQL that an earlier agent left running',
      );
    }
    this.#expelled = true;
  }

  /** Ends the backends of clients, those that are still logging in by the old rules among them. */
  async #endClients(connection: LocalConnection, signal: AbortSignal): Promise<void> {
    const context = this.#context;
    for (;;) {
      const left = await connection.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM $1 AND usename IS DISTINCT FROM $2`,
        [AGENT_ROLE, context.options.agent.replication.user],
        { timeoutMs: QUERY_MS, signal },
      );
      const entering = childrenOf(context.requirePostmaster())
        .map((one) => one.pid)
        .filter((pid) => / (authentication|initializing)$/.test(titleOf(pid)));
      for (const pid of entering) sendSignal(pid, 'SIGTERM');
      if (left.length === 0 && entering.length === 0) return;
      await sleep(5, undefined, { signal });
    }
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#settings.then(work);
    this.#settings = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  #exited(): void {
    this.#dropSampler();
    this.#context.logger.info({ event: 'postgres.exited' }, 'PostgreSQL has ended');
    for (const listener of this.#listeners) listener();
  }

  #dropSampler(): void {
    this.#sampler?.destroy();
    this.#sampler = null;
  }
}
