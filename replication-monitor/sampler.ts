import type { ConnectionOptions } from 'node:tls';
import type { Clock } from '../common/clock.ts';
import type { ServiceConfig } from '../common/config/schema.ts';
import { type Lsn, NO_TERM } from '../common/lsn.ts';
import type { Logger } from '../common/logger.ts';
import {
  type FreshnessState,
  initialFreshness,
  lagsBehind,
  recordLoss,
  recordSample,
  recordSilence,
  retarget,
  snapshotOf,
} from './freshness.ts';
import { NodeSampler } from './node-sampler.ts';
import type { FreshnessSnapshot, MonitorTargets, ReplicationMonitor } from './types.ts';

export interface ReplicationMonitorOptions {
  /** The clock by which sessions remember when they were told of a commit. */
  readonly clock: Clock;
  readonly credentials: ServiceConfig;
  /** Between samples of a node while nobody waits; 100 by default. */
  readonly intervalMs?: number;
  readonly logger: Logger;
  readonly tls?: ConnectionOptions;
}

/** Samples nothing until it has targets. The caller closes it. */
export function createReplicationMonitor(options: ReplicationMonitorOptions): ReplicationMonitor {
  return new SamplingMonitor(options);
}

/** How long a wake-up makes followers be asked in short steps, if they do not catch up before. */
const FAST_FOR_MS = 100;
const FOLLOWER_STEPS_MS = [2, 2, 3, 4, 6, 8, 10];

interface Sampled {
  readonly sampler: NodeSampler;
  readonly host: string;
  readonly port: number;
  /** Short steps taken since the last wake-up. */
  steps: number;
}

class SamplingMonitor implements ReplicationMonitor {
  readonly #options: ReplicationMonitorOptions;
  readonly #intervalMs: number;
  readonly #listeners = new Set<(snapshot: FreshnessSnapshot) => void>();
  readonly #samplers = new Map<string, Sampled>();
  readonly #closing = new Set<Promise<void>>();
  #state: FreshnessState = initialFreshness({ term: NO_TERM, leader: null, nodes: [] });
  #snapshot: FreshnessSnapshot;
  /** Answers to requests sent before the targets changed say nothing of the new term. */
  #targetsSinceMs = Number.NEGATIVE_INFINITY;
  #wokenAtMs = Number.NEGATIVE_INFINITY;
  #leaderAskedAtMs = Number.NEGATIVE_INFINITY;
  /** The position that those who woke the monitor wait for; null until the leader was asked after they did. */
  #wantedLsn: Lsn | null = null;
  #closed = false;

  constructor(options: ReplicationMonitorOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs ?? 100;
    this.#snapshot = snapshotOf(this.#state, options.clock.nowMs());
  }

  get snapshot(): FreshnessSnapshot {
    return this.#snapshot;
  }

  setTargets(targets: MonitorTargets): void {
    if (this.#closed) return;
    const changedTerm = targets.term !== this.#state.targets.term || targets.leader !== this.#state.targets.leader;
    this.#state = retarget(this.#state, targets);
    if (changedTerm) {
      this.#targetsSinceMs = this.#options.clock.nowMs();
      this.#wantedLsn = null;
    }
    const wanted = new Map(targets.nodes.map((target) => [target.node, target]));
    for (const [node, sampled] of this.#samplers) {
      const target = wanted.get(node);
      if (target?.host === sampled.host && target.port === sampled.port) wanted.delete(node);
      else this.#drop(node, sampled);
    }
    for (const target of wanted.values()) this.#samplers.set(target.node, this.#startSampler(target));
    this.#publish();
    if (changedTerm) this.wake();
  }

  wake(): void {
    if (this.#closed) return;
    const nowMs = this.#options.clock.nowMs();
    // Followers that the leader's next answer leaves behind are asked then; those that wait for nothing are not.
    this.#wokenAtMs = nowMs;
    this.#wantedLsn = null;
    const { leader } = this.#state.targets;
    if (leader !== null) this.#samplers.get(leader)?.sampler.wake();
  }

  subscribe(listener: (snapshot: FreshnessSnapshot) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    for (const [node, sampled] of [...this.#samplers]) this.#drop(node, sampled);
    await Promise.all(this.#closing);
  }

  #startSampler(target: MonitorTargets['nodes'][number]): Sampled {
    const { clock, credentials, logger, tls } = this.#options;
    const { node, host, port } = target;
    const record = (next: (state: FreshnessState) => FreshnessState) => {
      if (this.#samplers.get(node) !== sampled) return;
      this.#state = next(this.#state);
      this.#publish();
    };
    const sampler = new NodeSampler(
      {
        ...{ node, host, port, tls, clock, logger },
        user: credentials.user,
        password: credentials.password,
        silentAfterMs: Math.max(500, this.#intervalMs * 5),
      },
      {
        onSample: (sample) => {
          if (sample.sentAtMs < this.#targetsSinceMs) return;
          record((state) => recordSample(state, node, sample));
          if (node === this.#state.targets.leader) this.#onLeaderAnswer(sample.sentAtMs);
        },
        onSilence: (reason) => record((state) => recordSilence(state, node, reason)),
        onLoss: (reason) => record((state) => recordLoss(state, node, reason)),
        nextDelayMs: () => this.#nextDelayMs(node, sampled),
      },
    );
    const sampled: Sampled = { sampler, host, port, steps: 0 };
    return sampled;
  }

  /** Sets what is waited for, if this answer is one to those who wait, and asks the followers that lack it. */
  #onLeaderAnswer(sentAtMs: number): void {
    this.#leaderAskedAtMs = sentAtMs;
    const newest = this.#state.marks.at(-1);
    if (newest === undefined || this.#wantedLsn !== null || sentAtMs < this.#wokenAtMs) return;
    this.#wantedLsn = newest.lsn;
    for (const [node, sampled] of this.#samplers) {
      sampled.steps = 0;
      if (lagsBehind(this.#state, node, newest.lsn)) sampled.sampler.wake();
    }
  }

  #nextDelayMs(node: string, sampled: Sampled): number {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#wokenAtMs > FAST_FOR_MS) return this.#intervalMs;
    if (node === this.#state.targets.leader) {
      return this.#leaderAskedAtMs < this.#wokenAtMs ? 0 : this.#intervalMs;
    }
    if (this.#wantedLsn === null || !lagsBehind(this.#state, node, this.#wantedLsn)) return this.#intervalMs;
    return FOLLOWER_STEPS_MS[Math.min(sampled.steps++, FOLLOWER_STEPS_MS.length - 1)] ?? this.#intervalMs;
  }

  #drop(node: string, sampled: Sampled): void {
    this.#samplers.delete(node);
    const closing = sampled.sampler.close();
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  #publish(): void {
    this.#snapshot = snapshotOf(this.#state, this.#options.clock.nowMs());
    for (const listener of this.#listeners) listener(this.#snapshot);
  }
}
