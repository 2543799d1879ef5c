/**
 * What the watchdog does when (ELECTION.md, "Timings"). Pure but for what it is given: the processes of the server and
 * the signals are its caller's.
 *
 *     no deadline --feed(d)--> waiting --d-500--> SIGQUIT to the postmaster --d-200--> SIGKILL to all, again and again
 *          ^---------------------- feed(later or null) ---------------------------------------'
 *     the agent is gone: only what runs now is guarded (a new agent may start its own server here); ends with it
 */
export interface GuardedProcess {
  readonly pid: number;
  readonly parent: number;
  readonly startTicks: number;
}

export interface GuardActions {
  /** Every process of the server in the data directory. */
  processes(): readonly GuardedProcess[];
  postmaster(): number | null;
  send(pid: number, signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): void;
  report(what: 'quit' | 'kill' | 'agent-gone'): void;
}

export const QUIT_BEFORE_MS = 500;
export const KILL_BEFORE_MS = 200;
/** How long a fast shutdown may take when the whole local cluster has lost its parent. */
export const FAST_STOP_MS = 3500;

export class Guard {
  readonly #actions: GuardActions;
  readonly #dieWithAgent: boolean;
  #deadlineMs: number | null = null;
  #quitSent = false;
  #killReported = false;
  /** Null while the agent lives: then everything in the data directory is guarded. */
  #orphans: readonly GuardedProcess[] | null = null;

  constructor(actions: GuardActions, dieWithAgent: boolean) {
    this.#actions = actions;
    this.#dieWithAgent = dieWithAgent;
  }

  feed(deadlineMs: number | null): void {
    if (this.#orphans !== null || deadlineMs === this.#deadlineMs) return;
    this.#deadlineMs = deadlineMs;
    this.#quitSent = false;
    this.#killReported = false;
  }

  /** The agent has died: its last deadline stands. With `dieWithAgent` the server is stopped at once besides. */
  agentGone(nowMs: number): void {
    if (this.#orphans !== null) return;
    this.#orphans = this.#actions.processes();
    this.#actions.report('agent-gone');
    if (!this.#dieWithAgent) return;
    this.#deadlineMs = Math.min(this.#deadlineMs ?? Number.POSITIVE_INFINITY, nowMs + FAST_STOP_MS);
    const postmaster = this.#actions.postmaster();
    if (postmaster !== null && this.#orphans.some((one) => one.pid === postmaster)) {
      this.#actions.send(postmaster, 'SIGINT');
    }
  }

  /** Does what is due. Gives when to come again, in milliseconds; null when only a feed can change anything; 'done' at the end. */
  tick(nowMs: number): number | null | 'done' {
    const guarded = this.#guarded();
    if (this.#orphans !== null && (guarded.length === 0 || this.#deadlineMs === null)) return 'done';
    if (this.#deadlineMs === null) return null;
    const remainingMs = this.#deadlineMs - nowMs;
    if (remainingMs <= KILL_BEFORE_MS) this.#kill(guarded);
    else if (remainingMs <= QUIT_BEFORE_MS) this.#quit(guarded);
    return remainingMs > 1500 ? 100 : 20;
  }

  #guarded(): readonly GuardedProcess[] {
    const orphans = this.#orphans;
    // Far from a deadline nobody needs to know.
    if (orphans === null) return [];
    const isOrphan = (one: GuardedProcess) =>
      orphans.some((orphan) => orphan.pid === one.pid && orphan.startTicks === one.startTicks);
    const pids = new Set(orphans.map((one) => one.pid));
    return this.#actions.processes().filter((one) => isOrphan(one) || pids.has(one.parent));
  }

  #quit(orphans: readonly GuardedProcess[]): void {
    if (this.#quitSent) return;
    this.#quitSent = true;
    const postmaster = this.#actions.postmaster();
    if (postmaster === null) return;
    // A lock file may name a pid that is another program's by now.
    const guarded = this.#orphans === null ? this.#actions.processes() : orphans;
    if (!guarded.some((one) => one.pid === postmaster)) return;
    this.#actions.send(postmaster, 'SIGQUIT');
    this.#actions.report('quit');
  }

  #kill(orphans: readonly GuardedProcess[]): void {
    const guarded = this.#orphans === null ? this.#actions.processes() : orphans;
    for (const one of guarded) this.#actions.send(one.pid, 'SIGKILL');
    if (guarded.length === 0 || this.#killReported) return;
    this.#killReported = true;
    this.#actions.report('kill');
  }
}
