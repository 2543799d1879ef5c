import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { encryptsAlways } from '../../common/config/replication.ts';
import type { AgentConfig, ClusterConfig, ServiceConfig } from '../../common/config/schema.ts';
import type { Logger } from '../../common/logger.ts';
import { findBinaries, type PostgresProgram } from './binaries.ts';
import { LocalConnection } from './connection.ts';
import { PostgresNotRunning, PostgresSettingOverridden } from './errors.ts';
import { layoutOf, type NodeLayout, prepareFolders, writeFileAtomically, writeFileDurably } from './files.ts';
import { identityFor, type RunAs } from './identity.ts';
import type { PeerAddress } from './port.ts';
import { Postmaster } from './postmaster.ts';
import { runProgram } from './programs.ts';
import {
  commandLine,
  ignoredParameters,
  NOBODY,
  primaryConninfo,
  RELOADED_SETTINGS,
  renderConfig,
  renderHba,
  renderIdent,
  renderPassFile,
  renderSynchronous,
  slotName,
  withoutReloadedSettings,
} from './settings.ts';

export interface PostgresServerOptions {
  readonly agent: AgentConfig;
  readonly cluster: ClusterConfig;
  readonly service: ServiceConfig;
  readonly logger: Logger;
}

/** The durability rule that PostgreSQL was told last. */
export interface SynchronousRule {
  readonly names: readonly string[];
  readonly k: number;
}

export const NOBODY_RULE: SynchronousRule = { names: [NOBODY], k: 1 };

const QUERY_MS = 2000;
const CONNECT_MS = 1000;
const POLL_MS = 2;

/** What the operations on one local server share: its folders, programs, postmaster, settings and connections. */
export class ServerContext {
  readonly options: PostgresServerOptions;
  readonly layout: NodeLayout;
  readonly user: RunAs;
  readonly binDir: string;
  readonly postmaster: Postmaster;
  readonly logger: Logger;
  peer: PeerAddress | null = null;
  rule: SynchronousRule = NOBODY_RULE;
  /** Promoted, or started as a leader, in this life. */
  leads = false;
  open = false;
  #generation = 0;

  constructor(options: PostgresServerOptions) {
    this.options = options;
    this.logger = options.logger;
    this.layout = layoutOf(options.agent.dataDir);
    this.user = identityFor(options.agent.postgres.osUser);
    this.binDir = findBinaries(options.agent.postgres.binDir, process.env);
    this.postmaster = new Postmaster(this.layout, this.user);
    const ignored = ignoredParameters(options.agent.postgres.parameters);
    if (ignored.length > 0) {
      this.logger.warn({ event: 'postgres.parameters-ignored', ignored }, 'the agent decides these settings itself');
    }
  }

  get node(): string {
    return this.options.agent.node;
  }

  prepareFolders(): Promise<void> {
    return prepareFolders(this.layout, this.user);
  }

  run(program: PostgresProgram, args: readonly string[], signal: AbortSignal, input = ''): Promise<string> {
    const { binDir, user } = this;
    return runProgram({ binDir, program, args, user, cwd: this.layout.sideDir, signal, input });
  }

  connect(signal: AbortSignal, connectTimeoutMs = CONNECT_MS): Promise<LocalConnection> {
    const { socketDir } = this.layout;
    const { port } = this.options.agent.listen;
    return LocalConnection.open({ socketDir, port, connectTimeoutMs, signal });
  }

  /** Throws `PostgresNotRunning`. */
  requirePostmaster(): number {
    const pid = this.postmaster.pid;
    if (pid === null) throw new PostgresNotRunning('PostgreSQL does not run');
    return pid;
  }

  serverArguments(): string[] {
    const { agent } = this.options;
    return commandLine(this.layout.dataDir, {
      configFile: this.layout.configFile,
      hbaFile: this.layout.hbaFile,
      identFile: this.layout.identFile,
      socketDir: this.layout.socketDir,
      host: agent.listen.host,
      port: agent.listen.port,
      walLevel: agent.postgres.parameters['wal_level'] ?? 'replica',
    });
  }

  /** Writes every file that the server reads from us, from the present wishes. */
  async writeSettings(): Promise<void> {
    const { agent } = this.options;
    this.#generation++;
    const config = renderConfig(this.layout.dataDir, agent.postgres.parameters, {
      primaryConninfo: this.#conninfo(),
      primarySlotName: this.#slotName(),
      synchronousStandbyNames: renderSynchronous(this.rule.names, this.rule.k),
      generation: this.#generation,
    });
    const { leads, open } = this;
    const { replication } = agent;
    const admitted = { replicationUser: replication.user, clear: !encryptsAlways(replication), leads };
    const hba = { ...admitted, open, lines: agent.postgres.hba };
    await writeFileAtomically(this.layout.hbaFile, renderHba(hba), this.user);
    await writeFileAtomically(this.layout.configFile, config, this.user);
  }

  /** For a server that is stopped: before the first `prepareFolders` there is no folder, and `start` writes them anyway. */
  async writeSettingsIfThere(): Promise<void> {
    if (existsSync(this.layout.sideDir)) await this.writeSettings();
  }

  /** The files that only change with the configuration, and PostgreSQL's own file of ALTER SYSTEM cleared of ours. */
  async writeFixedFiles(): Promise<void> {
    const { replication } = this.options.agent;
    const self = process.getuid?.() === 0 ? 'root' : this.user.name;
    await writeFileAtomically(this.layout.identFile, renderIdent([self, this.user.name]), this.user);
    const pass = renderPassFile(replication.user, replication.password);
    await writeFileAtomically(this.layout.passFile, pass, this.user);
    const autoFile = join(this.layout.dataDir, 'postgresql.auto.conf');
    const auto = await readFile(autoFile, 'utf8').catch(() => '');
    const cleared = withoutReloadedSettings(auto);
    if (cleared !== auto) await writeFileDurably(autoFile, cleared, this.user);
  }

  /**
   * Writes the settings and makes the running server read them. Resolves when the postmaster has, and so has every
   * process that it starts from now on, and that connection. A setting of ours that ALTER SYSTEM overrides is reset once.
   */
  async reload(connection: LocalConnection, signal: AbortSignal): Promise<void> {
    await this.writeSettings();
    this.postmaster.signal('SIGHUP');
    await this.#waitForGeneration(connection, signal);
    let overridden = await this.#overridden(connection, signal);
    if (overridden === null) return;
    this.logger.warn({ event: 'postgres.setting-reset', setting: overridden.name }, 'taking back an ALTER SYSTEM');
    for (const name of RELOADED_SETTINGS) {
      await connection.query(`ALTER SYSTEM RESET ${name}`, [], { timeoutMs: QUERY_MS, signal });
    }
    await this.writeSettings();
    this.postmaster.signal('SIGHUP');
    await this.#waitForGeneration(connection, signal);
    overridden = await this.#overridden(connection, signal);
    if (overridden !== null) throw new PostgresSettingOverridden(overridden.name, overridden.wanted, overridden.found);
  }

  #slotName(): string {
    return this.peer === null ? '' : slotName(this.peer.term, this.node);
  }

  #conninfo(): string {
    const { replication } = this.options.agent;
    return this.peer === null ? '' : primaryConninfo(this.peer, this.node, replication, this.layout.passFile);
  }

  async #waitForGeneration(connection: LocalConnection, signal: AbortSignal): Promise<void> {
    const wanted = String(this.#generation);
    for (;;) {
      this.requirePostmaster();
      const row = await connection.one<{ generation: string | null }>(
        `SELECT current_setting('leasehold.generation', true) AS generation`,
        [],
        { timeoutMs: QUERY_MS, signal },
      );
      // A later reload may have overtaken this one; its files hold these wishes too.
      if (Number(row.generation) >= Number(wanted)) return;
      await sleep(POLL_MS, undefined, { signal });
    }
  }

  async #overridden(
    connection: LocalConnection,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly wanted: string; readonly found: string } | null> {
    const wanted: Record<(typeof RELOADED_SETTINGS)[number], string> = {
      primary_conninfo: this.#conninfo(),
      primary_slot_name: this.#slotName(),
      synchronous_standby_names: renderSynchronous(this.rule.names, this.rule.k),
    };
    const row = await connection.one<Record<string, string>>(
      `SELECT ${RELOADED_SETTINGS.map((name) => `current_setting('${name}') AS ${name}`).join(', ')}`,
      [],
      { timeoutMs: QUERY_MS, signal },
    );
    for (const name of RELOADED_SETTINGS) {
      const found = row[name] ?? '';
      if (found !== wanted[name]) return { name, wanted: wanted[name], found };
    }
    return null;
  }
}
