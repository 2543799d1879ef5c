import { spawn } from 'node:child_process';
import { LeaseholdError } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { LocalConnection } from '../postgres/connection.ts';
import { findLivingServer, isAlive, sendSignal, type ServerProcess } from '../postgres/processes.ts';
import type { CuttableStore } from '../store/cuttable.ts';

/** Why an agent breaks nothing. `status` is HTTP's. */
export class DrillRefusedByNode extends LeaseholdError {
  readonly status: 400 | 403 | 409;

  constructor(status: DrillRefusedByNode['status'], message: string) {
    super('DRILL_REFUSED', message);
    this.status = status;
  }
}

export interface NodeFaultsOptions {
  /** `drills`. */
  readonly drills: { readonly enabled: boolean; readonly maxSeconds: number };
  readonly store: CuttableStore;
  /** Resolved. */
  readonly dataDir: string;
  readonly socketDir: string;
  readonly port: number;
  readonly logger: Logger;
}

const CONNECT_MS = 2000;
/** A process that is forked while the others are being stopped is found by the next pass. */
const FREEZE_PASSES = 5;

/**
 * What a drill may do to this node, each for a bounded time that this process itself sees to: whoever asked for it may be gone by then.
 * Nothing here is known to the decision core, which meets these faults as it meets real ones.
 */
export class NodeFaults {
  readonly #options: NodeFaultsOptions;
  #frozen: readonly ServerProcess[] = [];
  #thaw: NodeJS.Timeout | undefined;
  #lags = false;
  #pause: LocalConnection | null = null;
  #pausePid = 0;
  #resume: NodeJS.Timeout | undefined;

  constructor(options: NodeFaultsOptions) {
    this.#options = options;
  }

  /** Throws DrillRefusedByNode (403) while drills are turned off. */
  requireEnabled(): void {
    if (this.#options.drills.enabled) return;
    throw new DrillRefusedByNode(403, 'drills are turned off on this node (drills.enabled)');
  }

  /** The agent hears nothing of etcd and is not heard. */
  partition(seconds: unknown): void {
    const ms = this.#duration(seconds);
    this.#warn('partition', ms, 'cut off from etcd by a drill');
    this.#options.store.cut(ms);
  }

  /** SIGSTOP to every process of PostgreSQL, or to this very process. */
  freeze(what: unknown, seconds: unknown): void {
    const ms = this.#duration(seconds);
    if (what === 'agent') this.#freezeAgent(ms);
    else if (what === 'postgres') this.#freezePostgres(ms);
    else throw new DrillRefusedByNode(400, 'what must be postgres or agent');
  }

  /** Replay stands still, on a server that follows. */
  async lag(seconds: unknown): Promise<void> {
    const ms = this.#duration(seconds);
    if (this.#lags) throw new DrillRefusedByNode(409, 'replay is paused by a drill already');
    this.#lags = true;
    let connection: LocalConnection;
    try {
      connection = await this.#connect();
      this.#pause = connection;
      const sql = 'SELECT pg_is_in_recovery() AS follows, pg_backend_pid() AS pid';
      const { follows, pid } = await connection.one<{ follows: boolean; pid: number }>(sql, [], {
        timeoutMs: CONNECT_MS,
      });
      this.#pausePid = pid;
      if (!follows) throw new DrillRefusedByNode(409, 'this node does not follow: there is no replay to pause');
    } catch (error) {
      this.#endPause();
      throw error;
    }
    this.#warn('lag', ms, 'replay is paused by a drill');
    // The server itself resumes: it goes on with this statement when the agent, and with it the connection, is gone.
    const done = connection.query(pauseStatement(ms), [], { timeoutMs: ms + CONNECT_MS });
    done.catch(() => undefined).finally(() => this.#endPause());
    this.#resume = setTimeout(() => void this.#resumeReplay(), ms);
  }

  /** Ends whatever lasts. */
  async lift(): Promise<void> {
    this.#options.store.cut(0);
    this.#thawPostgres();
    await this.#resumeReplay();
  }

  /** For the end of the agent: nothing stays stopped. */
  close(): void {
    this.#thawPostgres();
    this.#endPause();
  }

  #duration(seconds: unknown): number {
    this.requireEnabled();
    const { maxSeconds } = this.#options.drills;
    if (typeof seconds === 'number' && seconds > 0 && seconds <= maxSeconds) return Math.round(seconds * 1000);
    throw new DrillRefusedByNode(400, `seconds must be above 0 and at most ${maxSeconds} (drills.maxSeconds)`);
  }

  #freezePostgres(ms: number): void {
    if (this.#frozen.length > 0) throw new DrillRefusedByNode(409, 'PostgreSQL is stopped by a drill already');
    const { dataDir } = this.#options;
    const found = new Map<number, ServerProcess>();
    for (let pass = 0; pass < FREEZE_PASSES; pass++) {
      // The postmaster comes first, so that it forks nothing more.
      const fresh = findLivingServer(dataDir).filter((one) => !found.has(one.pid));
      if (fresh.length === 0) break;
      for (const one of fresh) {
        found.set(one.pid, one);
        sendSignal(one.pid, 'SIGSTOP');
      }
    }
    if (found.size === 0) throw new DrillRefusedByNode(409, 'PostgreSQL does not run on this node');
    this.#frozen = [...found.values()];
    this.#thaw = setTimeout(() => this.#thawPostgres(), ms);
    this.#warn('freeze', ms, `${found.size} processes of PostgreSQL are stopped by a drill`);
  }

  #thawPostgres(): void {
    clearTimeout(this.#thaw);
    // Only those that were stopped: a pid may be another process's by now.
    for (const one of this.#frozen) if (isAlive(one)) sendSignal(one.pid, 'SIGCONT');
    this.#frozen = [];
  }

  /** A process that is stopped cannot wake itself: a shell of its own, started before, does it. */
  #freezeAgent(ms: number): void {
    const seconds = (ms / 1000).toFixed(3);
    const script = `sleep 0.3; kill -STOP ${process.pid}; sleep ${seconds}; kill -CONT ${process.pid}`;
    const helper = spawn('/bin/sh', ['-c', script], { stdio: 'ignore', detached: true });
    helper.on('error', (error) => this.#options.logger.error({ event: 'drill.no-helper', err: error }, 'no helper'));
    helper.unref();
    this.#warn('freeze', ms, 'the agent is stopped by a drill');
  }

  async #resumeReplay(): Promise<void> {
    clearTimeout(this.#resume);
    if (this.#pause === null) return;
    try {
      await using connection = await this.#connect();
      // Else it would sleep on to its time, and then end a pause that is not its own.
      await connection.query('SELECT pg_terminate_backend($1)', [this.#pausePid], { timeoutMs: CONNECT_MS });
      const sql = 'SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery() AND pg_is_wal_replay_paused()';
      await connection.query(sql, [], { timeoutMs: CONNECT_MS });
    } catch (error) {
      this.#options.logger.warn({ event: 'drill.resume', err: error }, 'replay could not be resumed from here');
    }
    this.#endPause();
  }

  #endPause(): void {
    clearTimeout(this.#resume);
    this.#pause?.destroy();
    this.#pause = null;
    this.#lags = false;
  }

  #connect(): Promise<LocalConnection> {
    const { socketDir, port } = this.#options;
    return LocalConnection.open({
      socketDir,
      port,
      connectTimeoutMs: CONNECT_MS,
      signal: AbortSignal.timeout(CONNECT_MS),
    });
  }

  #warn(fault: string, ms: number, message: string): void {
    this.#options.logger.warn({ event: 'drill.fault', fault, ms }, message);
  }
}

/**
 * Pauses replay and resumes it in one statement of the server's. A cancel does not keep it from resuming; a promotion ends the pause
 * by itself (https://www.postgresql.org/docs/current/functions-admin.html, "Recovery Control Functions").
 */
function pauseStatement(ms: number): string {
  return `DO $$ BEGIN
    PERFORM pg_wal_replay_pause();
    BEGIN
      PERFORM pg_sleep(${(ms / 1000).toFixed(3)});
    EXCEPTION WHEN query_canceled THEN NULL;
    END;
    IF pg_is_in_recovery() THEN PERFORM pg_wal_replay_resume(); END IF;
  END $$`;
}
