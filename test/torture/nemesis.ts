import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../simulation/random.ts';
import { PROXIES, type TortureCluster } from './cluster.ts';
import { describeFault, drawRound, type PlanOptions, type PlannedFault, type Round } from './plan.ts';
import type { Recorder } from './recorder.ts';
import { STRIKES } from './strikes.ts';

/** One fault as it happened. Times as in the history. */
export interface Struck {
  readonly fault: PlannedFault;
  readonly round: number;
  readonly atMs: number;
  healedMs: number;
  /** Why it could not be done, for instance because etcd did not answer an administrator. */
  failed: string | null;
}

export interface RoundOutcome {
  readonly startMs: number;
  readonly healedMs: number;
  /** When all nodes were in step and both proxies had passed on an acknowledged write; null where nobody waited for it. */
  readonly recoveredMs: number | null;
}

/** How long a cluster may take to be whole again once everything is healed: a clone, and followers of PostgreSQL that retry every few seconds. */
export const RECOVERY_MS = 60_000;

/** Strikes round after round, drawn from the seed, until the time is over. Every fault is ended, whatever happens. */
export class Nemesis {
  readonly struck: Struck[] = [];
  readonly rounds: RoundOutcome[] = [];
  readonly #cluster: TortureCluster;
  readonly #recorder: Recorder;
  readonly #options: PlanOptions;
  readonly #plan: Random;
  /** What the plan does not say, such as which backend. */
  readonly #chance: Random;
  readonly #say: (line: string) => void;

  constructor(
    cluster: TortureCluster,
    recorder: Recorder,
    options: PlanOptions & { readonly seed: number; readonly say: (line: string) => void },
  ) {
    this.#cluster = cluster;
    this.#recorder = recorder;
    this.#options = options;
    this.#plan = new Random(options.seed);
    this.#chance = new Random(options.seed).fork();
    this.#say = options.say;
  }

  /** Throws where the cluster does not recover in time. */
  async run(untilMs: number, rounds: number, signal: AbortSignal): Promise<void> {
    while (performance.now() < untilMs && this.rounds.length < rounds) {
      const round = drawRound(this.#plan, this.#options);
      await this.#play(round, signal);
      await sleep(round.restMs, undefined, { signal });
    }
  }

  async #play(round: Round, signal: AbortSignal): Promise<void> {
    const startMs = performance.now();
    const results = await Promise.allSettled(round.faults.map((fault) => this.#strike(fault, signal)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    const healedMs = performance.now();
    let recoveredMs: number | null = null;
    if (round.recovers) {
      await this.recovered(signal);
      recoveredMs = performance.now();
    }
    this.rounds.push({ startMs, healedMs, recoveredMs });
  }

  async #strike(fault: PlannedFault, signal: AbortSignal): Promise<void> {
    await sleep(fault.afterMs, undefined, { signal });
    const atMs = performance.now();
    const struck: Struck = { fault, round: this.rounds.length + 1, atMs, healedMs: atMs, failed: null };
    this.struck.push(struck);
    try {
      const { leader } = this.#cluster.observer;
      this.#say(`${describeFault(fault)} (${leader ?? 'nobody'} leads)`);
      const heal = await STRIKES[fault.name](this.#cluster, fault.target, this.#chance);
      try {
        await sleep(fault.lastingMs, undefined, { signal });
      } finally {
        await heal();
      }
    } catch (error) {
      signal.throwIfAborted();
      struck.failed = (error as Error).message;
      this.#say(`${fault.name} could not be done: ${struck.failed.trim()}`);
    }
    struck.healedMs = performance.now();
  }

  /** All nodes in step, and each proxy passes on a write that was begun after everything healed. */
  async recovered(signal: AbortSignal): Promise<void> {
    const sinceMs = performance.now();
    const { observer } = this.#cluster;
    const served = (proxy: string): boolean => this.#recorder.lastAcknowledged(proxy) > sinceMs;
    const whole = (): boolean => observer.inStep && PROXIES.every(served);
    await this.#cluster.until('the cluster is whole and both proxies write', whole, RECOVERY_MS, signal);
  }
}
