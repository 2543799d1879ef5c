import { identityFor } from '../../election/postgres/identity.ts';
import {
  childrenOf,
  findLivingServer,
  findProcesses,
  killAllProcesses,
  readPostmasterPid,
  sendSignal,
  titleOf,
} from '../../election/postgres/processes.ts';
import { commandLine, isRunning } from '../support/processes.ts';
import type { ManagedProcess } from './managed-process.ts';

/** The processes of one node: agent, watchdog, PostgreSQL. Looked up when asked for. */
export class NodeProcesses {
  readonly agent: ManagedProcess;
  readonly #dataDir: string;
  readonly #uid = identityFor(undefined).uid;

  constructor(agent: ManagedProcess, dataDir: string) {
    this.agent = agent;
    this.#dataDir = dataDir;
  }

  /** Null where there is none. */
  get watchdog(): number | null {
    const { pid } = this.agent;
    const children = pid === null ? [] : childrenOf(pid);
    return children.find((child) => commandLine(child.pid).includes('watchdog-main'))?.pid ?? null;
  }

  get postmaster(): number | null {
    const pid = readPostmasterPid(this.#dataDir);
    return pid !== null && isRunning(pid) && titleOf(pid).includes(this.#dataDir) ? pid : null;
  }

  /** Backends of clients of the proxies. */
  get clientBackends(): number[] {
    return this.#titled((title) => / app app /.test(title));
  }

  get walReceiver(): number | null {
    return this.#titled((title) => title.includes('walreceiver'))[0] ?? null;
  }

  /** All of PostgreSQL. */
  get servers(): number[] {
    return findProcesses([this.#dataDir], this.#uid).map(({ pid }) => pid);
  }

  /** Agent first: what guards the others cannot act while they are found. */
  get all(): number[] {
    const own = [this.agent.pid, this.watchdog].filter((pid) => pid !== null);
    return [...own, ...this.servers];
  }

  /** SIGSTOP to every process, until a pass finds no new one. Resolves to who was stopped. */
  stopAll(): number[] {
    const stopped = new Set<number>();
    for (let grew = true; grew; ) {
      grew = false;
      for (const pid of this.all) {
        if (stopped.has(pid)) continue;
        sendSignal(pid, 'SIGSTOP');
        stopped.add(pid);
        grew = true;
      }
    }
    return [...stopped];
  }

  /** As when the machine dies. The agent stays down until it is released. */
  killAll(): void {
    const { watchdog } = this;
    this.agent.holdDown();
    if (watchdog !== null) sendSignal(watchdog, 'SIGKILL');
    for (const pid of this.servers) sendSignal(pid, 'SIGKILL');
  }

  /** For good. */
  async end(): Promise<void> {
    const { watchdog } = this;
    await this.agent.end();
    if (watchdog !== null) sendSignal(watchdog, 'SIGKILL');
    await killAllProcesses(this.#dataDir, this.#uid);
  }

  #titled(test: (title: string) => boolean): number[] {
    return findLivingServer(this.#dataDir)
      .map(({ pid }) => pid)
      .filter((pid) => test(titleOf(pid)));
  }
}
